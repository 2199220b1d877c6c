package suite

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

// subprotocol is what a client offers.
const subprotocol = "warren.v1"

// WS opens a WebSocket.
func (t *T) WS(path string, h http.Header) *Stream {
	return t.dial(path, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{subprotocol}})
}

func (t *T) dial(path string, o *websocket.DialOptions) *Stream {
	t.makeRoom(path)
	s := t.newStream(path)
	if err := t.requests.Wait(t.ctx); err != nil {
		close(s.ended)
		t.Fatalf("GET %s: %v", path, err)
	}
	o.HTTPClient = t.client(t.transport)
	if o.HTTPHeader == nil {
		o.HTTPHeader = http.Header{}
	}
	t.authorize(o.HTTPHeader)
	conn, resp, err := websocket.Dial(t.ctx, t.URL(path), o) //nolint:bodyclose // the library says that nobody needs to
	if resp != nil {
		s.Status, s.Header = resp.StatusCode, resp.Header
	}
	if err != nil {
		s.Refuse = &Reply{}
		if resp != nil {
			raw := make([]byte, 1024) // the library keeps the first KiB
			n, _ := resp.Body.Read(raw)
			s.Refuse = reply(resp, raw[:n])
		}
		s.end(err)
		return s
	}
	conn.SetReadLimit(-1)
	ctx, cancel := context.WithCancel(t.ctx)
	s.conn, s.hang = conn, func() {
		cancel()
		_ = conn.CloseNow()
	}
	go func() { s.end(s.readMessages(ctx)) }() // ends with the connection, which Hang ends
	return s
}

func (s *Stream) readMessages(ctx context.Context) error {
	frames := s.t.contract.NewStream(contract.WS)
	for {
		kind, raw, err := s.conn.Read(ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageText {
			s.t.Errorf("a binary message came: %.100q", raw)
			continue
		}
		for _, fault := range frames.Frame(raw) {
			s.t.Errorf("against the contract: %s: %s", s.name, fault)
		}
		s.add(raw, nil)
	}
}

// Closed waits for the end and returns code and reason of the close frame, or -1 and what came instead.
func (s *Stream) Closed() (code int, reason string) {
	err := s.End()
	if closed, ok := errors.AsType[websocket.CloseError](err); ok {
		return int(closed.Code), closed.Reason
	}
	return -1, err.Error()
}

// Close closes the WebSocket as a client does, and returns the code that came back.
func (s *Stream) Close(code websocket.StatusCode) int {
	err := s.conn.Close(code, "")
	if came, _ := s.Closed(); came != -1 {
		return came
	}
	return int(websocket.CloseStatus(err))
}

// Pinged tells whether a ping frame of RFC 6455 is answered.
func (s *Stream) Pinged() bool {
	ctx, cancel := context.WithTimeout(s.t.ctx, 10*time.Second)
	defer cancel()
	return s.conn.Ping(ctx) == nil
}
