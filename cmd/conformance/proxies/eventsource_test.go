package proxies

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long may take what must come.
const patience = 60 * time.Second

// newClient takes any certificate, and speaks HTTP/2 where the proxy does.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
		IdleConnTimeout:   4 * time.Second, // before a server closes what was never used
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// frame is what tests look at of a frame.
type frame struct {
	Type    string
	ID      string
	Reason  string
	Payload string
	Resumed bool
	Code    int
}

// eventSource does as the EventSource of a browser: it comes back after the end of a response or a failure of the network, with the last id
// that it saw, after the time that retry: said last; and it gives up for good on any answer but 200 text/event-stream.
type eventSource struct {
	client *http.Client
	url    string
	frames chan frame
	hollow chan int // an answer without any event, and the retry: in it; one may be waiting
	failed chan error

	mu    sync.Mutex // guards the rest
	cut   func()     // ends the response that is read; nothing of it comes any more
	proto string     // of the newest response

	retry time.Duration // used by run alone
	last  string        // the same
}

// openEventSource opens one that ends with the test.
func openEventSource(t *testing.T, url string) *eventSource {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := &eventSource{
		client: newClient(t), url: url, frames: make(chan frame, 1024), hollow: make(chan int, 1), failed: make(chan error, 1),
		cut: func() {}, retry: 3 * time.Second,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return e
}

func (e *eventSource) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := e.once(ctx); err != nil {
			e.failed <- err
			return
		}
		timer := time.NewTimer(e.retry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// once makes one request and reads its answer to the end; the error is one that an EventSource gives up on.
func (e *eventSource) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if e.last != "" {
		req.Header.Set("Last-Event-ID", e.last)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil // an EventSource comes back after a failure of the network
	}
	over := make(chan struct{})
	defer close(over)
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		return fmt.Errorf("an EventSource gives up on %s %s", resp.Status, kind)
	}
	e.mu.Lock()
	e.cut, e.proto = func() { cancel(); <-over }, resp.Proto
	e.mu.Unlock()
	if events := e.read(resp); events == 0 {
		select {
		case e.hollow <- int(e.retry / time.Millisecond):
		default:
		}
	}
	return nil
}

// read reads a response to its end and returns how many events were in it.
func (e *eventSource) read(resp *http.Response) (events int) {
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	id, data := e.last, ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				e.retry = time.Duration(ms) * time.Millisecond
			}
		case "id":
			id = value
		case "data":
			data += value
		case "": // the end of an event
			e.last = id
			var f frame
			if data != "" && json.Unmarshal([]byte(data), &f) == nil {
				events++
				e.frames <- f
			}
			data = ""
		}
	}
	return events
}

// next returns the next frame, or the next that is no ping.
func (e *eventSource) next(t *testing.T, pings bool) frame {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case f := <-e.frames:
			if pings || f.Type != "ping" {
				return f
			}
		case err := <-e.failed:
			t.Fatal(err)
		case <-timer.C:
			t.Fatalf("nothing came within %v", patience)
		}
	}
}

// awaitHollow waits for an answer with nothing in it but a time to come back at, which it returns.
func (e *eventSource) awaitHollow(t *testing.T) (milliseconds int) {
	t.Helper()
	select {
	case ms := <-e.hollow:
		return ms
	case err := <-e.failed:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("no answer without an event within %v", patience)
	}
	return 0
}

// drop ends the response, as a network does that breaks.
func (e *eventSource) drop() (proto string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cut()
	return e.proto
}
