package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// event is one event of an event stream.
type event struct {
	Type string // "" for message
	ID   string
	Data string
}

// frame is the JSON object of a frame.
type frame map[string]any

func (e event) frame(t testing.TB) frame {
	t.Helper()
	var f frame
	if err := json.Unmarshal([]byte(e.Data), &f); err != nil {
		t.Fatalf("frame %q: %v", e.Data, err)
	}
	return f
}

// eventStream is an open SSE stream.
type eventStream struct {
	t      testing.TB
	cancel context.CancelFunc
	resp   *http.Response
	lines  *bufio.Scanner
}

// stream opens an event stream; it must be answered 200.
func (g *gateway) stream(path string, header ...string) *eventStream {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), deadline)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: g.client.Transport}).Do(r)
	if err != nil {
		cancel()
		g.t.Fatal(err)
	}
	s := &eventStream{t: g.t, cancel: cancel, resp: resp, lines: bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 4<<20)
	g.t.Cleanup(s.close)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(resp.Body)
		g.t.Fatalf("GET %s: %d %s", path, resp.StatusCode, body)
	}
	return s
}

func (s *eventStream) close() {
	s.cancel()
	_ = s.resp.Body.Close()
}

// next returns the next event that has data, and false at the end.
func (s *eventStream) next() (event, bool) {
	var e event
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "event":
			e.Type = value
		case "id":
			e.ID = value
		case "data":
			e.Data = value
		case "":
			if e.Data != "" {
				return e, true
			}
			e = event{}
		}
	}
	return event{}, false
}

// expect returns the next event, which must be of this type and no ping.
func (s *eventStream) expect(typ string) frame {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended, want %s: %v", typ, s.lines.Err())
		}
		f := e.frame(s.t)
		if f["type"] == "ping" && typ != "ping" {
			continue
		}
		if f["type"] != typ {
			s.t.Fatalf("got %s, want %s", e.Data, typ)
		}
		return f
	}
}

// socket is an open WebSocket.
type socket struct {
	t    testing.TB
	conn *websocket.Conn
	ctx  context.Context //nolint:containedctx // the test's
}

func (g *gateway) socket(path string, header ...string) *socket {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), deadline)
	g.t.Cleanup(cancel)
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, resp, err := websocket.Dial(ctx, "ws://"+g.addr+path, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{"warren.v1"}})
	if err != nil {
		g.t.Fatalf("dial %s: %v", path, err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	conn.SetReadLimit(4 << 20)
	g.t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{t: g.t, conn: conn, ctx: ctx}
}

// next returns the next frame, or the close code.
func (s *socket) next() (frame, websocket.StatusCode) {
	s.t.Helper()
	_, data, err := s.conn.Read(s.ctx)
	if err != nil {
		return nil, websocket.CloseStatus(err)
	}
	return event{Data: string(data)}.frame(s.t), 0
}

func (s *socket) expect(typ string) frame {
	s.t.Helper()
	f, code := s.next()
	if f["type"] != typ {
		s.t.Fatalf("got %v (close code %d), want %s", f, code, typ)
	}
	return f
}

// expectBye takes a bye and the close with the same code.
func (s *socket) expectBye(code int, reason string) {
	s.t.Helper()
	f := s.expect("bye")
	if f["code"] != float64(code) || f["reason"] != reason {
		s.t.Fatalf("got %v, want %d %s", f, code, reason)
	}
	if _, got := s.next(); int(got) != code {
		s.t.Fatalf("close code %d, want %d", got, code)
	}
}

func (s *socket) send(text string) {
	s.t.Helper()
	if err := s.conn.Write(s.ctx, websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}
