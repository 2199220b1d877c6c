package transport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/transport"
)

func TestDrainWritesWhatIsReadyAndSaysBye(t *testing.T) {
	g := newGateway(t, setup{transport: transport.Options{DrainWindow: patience}})
	const n = 1000
	var sockets []*socket
	var readers []*reader
	for range 5 {
		sockets = append(sockets, g.socket("/ws"))
		_, r := g.get("/sse")
		readers = append(readers, r)
	}
	g.attached(10)
	g.publishNumbers(n)
	eventually(t, "all messages", func() bool { return g.sub.Snapshot().Newest.Offset == n })
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		g.server.Drain(t.Context())
	}()
	for _, s := range sockets {
		for range n {
			s.next("message")
		}
		s.bye(1001, "shutting_down")
	}
	for _, r := range readers {
		r.skip()
		for range n {
			r.event()
		}
		e := r.event()
		if !strings.Contains(e, `"code":1001,"reason":"shutting_down","reconnect":true,"retry_ms":`) {
			t.Errorf("got %q", e)
		}
		var retry int
		if _, err := fmt.Sscanf(e, "event: bye\nretry: %d\n", &retry); err != nil || retry < 500 || retry > 5000 {
			t.Errorf("retry is %d, %v", retry, err)
		}
		r.eof()
	}
	<-drained
	if sse, ws := g.server.Open(); sse+ws != 0 || !g.server.Draining() {
		t.Errorf("%d SSE and %d WebSocket streams are left", sse, ws)
	}
}

func TestDrainIsNotPutOffByAPublisherThatNeverStops(t *testing.T) {
	g := newGateway(t, setup{transport: transport.Options{DrainWindow: patience}})
	s := g.socket("/ws")
	s.next("ready")
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				g.publish("x")
			}
		}
	}()
	s.next("message")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		g.server.Drain(t.Context())
	}()
	s.bye(1001, "shutting_down") // reads whatever comes before it
	close(stop)
	<-stopped
	<-drained
}

func TestDrainEndsHTTP2Streams(t *testing.T) {
	g := newGateway(t, setup{http2: true})
	resp := do(t, g, "/sse")
	g.attached(1)
	g.server.Drain(t.Context())
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(rest), `"reason":"shutting_down"`) {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestNewStreamsAreRefusedWhileDraining(t *testing.T) {
	g := newGateway(t, setup{})
	g.server.Drain(t.Context())
	_, r := g.get("/sse")
	r.event()
	if e := r.event(); !strings.Contains(e, `"reason":"shutting_down"`) {
		t.Errorf("got %q", e)
	}
	r.eof()
	g.socket("/ws").bye(1001, "shutting_down")
	eventually(t, "the streams' sessions to be closed", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.sessions) == 1 && g.refused == 1
	})
	<-g.sessions[0].closed
	if n := g.server.Stats().Refusals[transport.ReasonShuttingDown]; n != 2 {
		t.Errorf("%d refusals are counted", n)
	}
	g.attached(0)
}

func TestDrainEndsInItsWindowWhateverClientsDo(t *testing.T) {
	begun := make(chan struct{})
	for _, s := range []setup{{}, {tls: true}, {http2: true}} {
		s.transport.DrainWindow = 500 * time.Millisecond
		s.session.bind = func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		t.Run(fmt.Sprintf("tls=%v,http2=%v", s.tls, s.http2), func(t *testing.T) {
			g := newGateway(t, s)
			streams := 1
			if s.http2 {
				_ = do(t, g, "/sse") // reads nothing
			} else {
				_, _ = g.get("/sse") // reads nothing either
				g.socket("/ws")      // nor this, nor does it answer the close frame
				busy := g.socket("/ws")
				busy.ask(`{"type":"bind","bindings":[]}`)
				<-begun
				streams = 3
			}
			g.attached(streams)
			for range 70 {
				g.publish(strings.Repeat("x", 100<<10))
			}
			began := time.Now()
			g.server.Drain(t.Context())
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("drain took %v", took)
			}
			if sse, ws := g.server.Open(); sse+ws != 0 {
				t.Errorf("%d SSE and %d WebSocket streams are left", sse, ws)
			}
		})
	}
}

func TestCloseEndsStreamsThatWaitForAuth(t *testing.T) {
	g := newGateway(t, setup{needAuth: true})
	s := g.socket("/ws")
	eventually(t, "the stream", func() bool { _, ws := g.server.Open(); return ws == 1 })
	g.server.Close()
	if _, _, err := s.read(); err == nil {
		t.Error("the stream goes on")
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, g.http.URL+"/sse", nil)
	if resp, err := g.http.Client().Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("a closed server answers")
	}
}
