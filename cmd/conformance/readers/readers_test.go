package readers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
	backoff "gopkg.in/cenkalti/backoff.v1"
)

// maxEvent is how long an event may be: these libraries have bounds of their own that are smaller.
const maxEvent = 8 << 20

// patience bounds one reader. Where many tests run at once, a browser alone takes many seconds to start.
const patience = 2 * time.Minute

// frame is a message as a reader got it.
type frame struct {
	ID   string `json:"id"`   // of the event; the readers of a WebSocket leave it out
	Data string `json:"data"` // the JSON object
}

// reader reads n messages of a stream at base+path, from the oldest.
type reader struct {
	name string
	read func(t *testing.T, base, path string, n int) []frame
}

func readers() []reader {
	return []reader{
		{"r3labs/sse", readR3labs},
		{"tmaxmax/go-sse", readTmaxmax},
		{"eventsource-parser", node("eventsource-parser.js")},
		{"ws", node("ws.js")},
		{"Chromium's EventSource", node("chromium.js", "EventSource")},
		{"Chromium's WebSocket", node("chromium.js", "WebSocket")},
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
		if got = append(got, frame{string(e.ID), string(e.Data)}); len(got) == n {
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
		if got = append(got, frame{e.LastEventID, e.Data}); len(got) == n {
			break
		}
	}
	return got
}

// node reads with a script of web/readers, which prints one frame per line.
func node(script string, more ...string) func(*testing.T, string, string, int) []frame {
	return func(t *testing.T, base, path string, n int) []frame {
		t.Helper()
		args := append([]string{"../../../web/readers/" + script, base, path, fmt.Sprint(n)}, more...)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "node", args...)
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("node %s (make deps installs what it needs): %v\n%s", strings.Join(args, " "), err, said.Bytes())
		}
		var got []frame
		lines := bufio.NewScanner(&out)
		lines.Buffer(nil, 4*maxEvent)
		for lines.Scan() {
			var f frame
			if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
				t.Fatalf("%s printed %.100q: %v", script, lines.Text(), err)
			}
			got = append(got, f)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		return got
	}
}
