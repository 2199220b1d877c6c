package readers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
	backoff "gopkg.in/cenkalti/backoff.v1"
)

// maxEvent is how long an event may be: these libraries have bounds of their own that are smaller.
const maxEvent = 8 << 20

// patience bounds one reader, and the browser, which reads all streams in both ways: 12 s, and several times that beside other tests.
const patience = 4 * time.Minute

// frame is a message as a reader got it.
type frame struct {
	Path string `json:"path"` // of the stream
	How  string `json:"how"`  // what read it; these two only where one process reads several
	ID   string `json:"id"`   // of the event; the readers of a WebSocket leave it out
	Data string `json:"data"` // the JSON object
}

// reader reads n messages of a stream at base+path, from the oldest.
type reader struct {
	name string
	read func(t *testing.T, base, path string, n int) []frame
}

// readers returns all readers of n messages of the streams at these paths.
func readers(base string, n int, paths []string) []reader {
	browser := sync.OnceValues(func() ([]frame, error) {
		return runNode("chromium.js", append([]string{base, fmt.Sprint(n)}, paths...)...)
	})
	return []reader{
		{"r3labs/sse", readR3labs},
		{"tmaxmax/go-sse", readTmaxmax},
		{"eventsource-parser", node("eventsource-parser.js")},
		{"ws", node("ws.js")},
		{"Chromium's EventSource", chromium(browser, "EventSource")},
		{"Chromium's WebSocket", chromium(browser, "WebSocket")},
	}
}

func readR3labs(t *testing.T, base, path string, n int) []frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := r3labs.NewClient(base+path+"/sse?from=earliest", r3labs.ClientMaxBufferSize(maxEvent))
	client.ReconnectStrategy = &backoff.StopBackOff{}
	var got []frame
	err := client.SubscribeRawWithContext(ctx, func(e *r3labs.Event) {
		if len(e.Event) > 0 || len(e.Data) == 0 || len(got) == n {
			return
		}
		if got = append(got, frame{ID: string(e.ID), Data: string(e.Data)}); len(got) == n {
			cancel()
		}
	})
	if err != nil && ctx.Err() == nil {
		t.Errorf("r3labs/sse: %v", err)
	}
	return got
}

func readTmaxmax(t *testing.T, base, path string, n int) []frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+"/sse?from=earliest", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got []frame
	for e, err := range tmaxmax.Read(resp.Body, &tmaxmax.ReadConfig{MaxEventSize: maxEvent}) {
		if err != nil {
			t.Errorf("tmaxmax/go-sse: %v", err)
			break
		}
		if e.Type != "" {
			continue
		}
		if got = append(got, frame{ID: e.LastEventID, Data: e.Data}); len(got) == n {
			break
		}
	}
	return got
}

// node reads with a script of web/readers.
func node(script string) func(*testing.T, string, string, int) []frame {
	return func(t *testing.T, base, path string, n int) []frame {
		t.Helper()
		got, err := runNode(script, base, path, fmt.Sprint(n))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// chromium reads in one way what a browser has read in all.
func chromium(browser func() ([]frame, error), how string) func(*testing.T, string, string, int) []frame {
	return func(t *testing.T, _, path string, _ int) (got []frame) {
		t.Helper()
		all, err := browser()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Path == path && f.How == how {
				got = append(got, frame{ID: f.ID, Data: f.Data})
			}
		}
		return got
	}
}

// runNode runs a script of web/readers, which prints one frame per line.
func runNode(script string, args ...string) ([]frame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{"../../../web/readers/" + script}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("node %s (make deps installs what it needs): %w\n%s", script, err, said.Bytes())
	}
	var got []frame
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 4*maxEvent)
	for lines.Scan() {
		var f frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("%s printed %.100q: %w", script, lines.Text(), err)
		}
		got = append(got, f)
	}
	return got, lines.Err()
}
