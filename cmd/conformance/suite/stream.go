package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Frame is one frame as it was received.
type Frame struct {
	object
	Raw   []byte
	Event *sseEvent // its lines, on SSE
	At    time.Time
}

// Type returns the type of the frame.
func (f *Frame) Type() string { return str(f.object, "type") }

// ID returns its id, or "".
func (f *Frame) ID() string { return str(f.object, "id") }

// Body returns the payload of a message if it is a string.
func (f *Frame) Body() string { return str(f.object, "payload") }

// IsGap tells whether the frame is a gap of the reason.
func (f *Frame) IsGap(reason string) bool {
	return f.Type() == "gap" && str(f.object, "reason") == reason
}

// String is what to say was seen.
func (f *Frame) String() string {
	switch f.Type() {
	case "message":
		body := text(f.object["payload"])
		if len(body) > 60 {
			body = fmt.Sprintf("%s… (%d)", body[:60], len(body))
		}
		return fmt.Sprintf("message %s %s", short(f.ID()), body)
	case "gap":
		return fmt.Sprintf("gap %s %s missed %s", short(f.ID()), str(f.object, "reason"), text(f.object["missed"]))
	case "ready":
		return fmt.Sprintf("ready %s resumed %v", short(f.ID()), f.object["resumed"])
	case "bye":
		return fmt.Sprintf("bye %s %s", text(f.object["code"]), str(f.object, "reason"))
	case "bindings":
		return fmt.Sprintf("bindings %s [%s]", short(f.ID()), keys(list(f.object, "bindings")))
	}
	return oneLine(string(f.Raw))
}

// short shortens the stream id of an event id.
func short(id string) string {
	if i := strings.LastIndexByte(id, '.'); i > 4 {
		return id[:4] + "…" + id[i:]
	}
	if id == "" {
		return "(no id)"
	}
	return id
}

// Stream is an open stream; a goroutine of its own reads it, so that the gateway never waits for a check.
type Stream struct {
	t      *T
	name   string
	Status int         // of the answer to the request
	Header http.Header // the same
	Refuse *Reply      // the answer, if it was no stream
	Opened time.Time

	conn  *websocket.Conn // of a WebSocket
	hang  func()          // closes the connection at once
	ended chan struct{}   // closed when all was read

	mu     sync.Mutex // guards the rest
	frames []*Frame   // that were not taken yet
	wake   chan struct{}
	err    error  // why reading ended
	retry  string // the opening retry: line
	last   string // the last id
}

func (t *T) newStream(name string) *Stream {
	s := &Stream{t: t, name: name, ended: make(chan struct{}), wake: make(chan struct{}), Opened: time.Now()}
	t.Cleanup(func() {
		s.Hang()
		<-s.ended
	})
	return s
}

// add takes a frame from the reader.
func (s *Stream) add(raw []byte, e *sseEvent) {
	f := &Frame{object: parse(raw), Raw: raw, Event: e, At: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, f)
	close(s.wake)
	s.wake = make(chan struct{})
}

// end is called by the reader when there is no more.
func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	close(s.wake)
	s.wake = make(chan struct{})
	close(s.ended)
}

// take returns the next frame, or nil and why there is none.
func (s *Stream) take(within time.Duration) (*Frame, error) {
	return s.pick(within, func(*Frame) bool { return true })
}

// pick returns the first frame that fits and was not taken, and leaves the others in their order.
func (s *Stream) pick(within time.Duration, fits func(*Frame) bool) (*Frame, error) {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		f, wake, err := s.look(fits)
		if f != nil || err != nil {
			return f, err
		}
		select {
		case <-wake:
		case <-deadline.C:
			return nil, fmt.Errorf("%s: nothing came within %v", s.name, within)
		case <-s.t.ctx.Done():
			return nil, errors.New("the check ran out of time")
		}
	}
}

// look takes the first frame that fits out of those that came, or says what to wait for.
func (s *Stream) look(fits func(*Frame) bool) (*Frame, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.frames {
		if fits(f) {
			s.frames = slices.Delete(s.frames, i, i+1)
			if id := f.ID(); id != "" {
				s.last = id
			}
			return f, nil, nil
		}
	}
	if s.err != nil {
		return nil, nil, fmt.Errorf("%s has ended: %w", s.name, s.err)
	}
	return nil, s.wake, nil
}

// Next returns the next frame that is no ping, or ends the check.
func (s *Stream) Next() *Frame {
	if s.Refuse != nil {
		s.t.Fatalf("%s was refused: %s %s", s.name, s.Refuse, s.Refuse.Raw)
	}
	for {
		f, err := s.take(s.t.patience)
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		if f.Type() != "ping" {
			return f
		}
	}
}

// Skip returns the next frame of the type; the frames before it are passed over.
func (s *Stream) Skip(kind string) *Frame {
	for {
		if f := s.Next(); f.Type() == kind {
			return f
		}
	}
}

// Expect returns the next frame and ends the check if it is of another type.
func (s *Stream) Expect(kind string) *Frame {
	f := s.Next()
	if f.Type() != kind {
		s.t.Fatalf("%s: %s came in place of a frame %s", s.name, f, kind)
	}
	return f
}

// Ready returns the first frame, which must be ready.
func (s *Stream) Ready() *Frame {
	f := s.Expect("ready")
	if id := str(f.object, "subscription"); id != "" && strings.HasPrefix(s.name, "/v1/sse") || strings.HasPrefix(s.name, "/v1/ws") && id != "" {
		s.t.deleteLater("/v1/subscriptions/" + id)
	}
	return f
}

// Bodies returns the payloads of the next n messages, which nothing may come between.
func (s *Stream) Bodies(n int) string {
	out := make([]string, 0, n)
	for range n {
		out = append(out, s.Expect("message").Body())
	}
	return strings.Join(out, " ")
}

// Last returns the id of the newest frame that was taken and had one.
func (s *Stream) Last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Retry returns the value of the opening retry: line, or "".
func (s *Stream) Retry() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retry
}

// Hang ends the stream as a cut network would.
func (s *Stream) Hang() {
	if s.hang != nil {
		s.hang()
	}
}

// Cut hangs up and waits until the gateway can have noticed nothing else.
func (s *Stream) Cut() {
	s.Hang()
	<-s.ended
}

// End waits for the end and returns why reading ended: io.EOF for a clean end of a response, websocket.CloseError for a close frame.
func (s *Stream) End() error {
	select {
	case <-s.ended:
	case <-time.After(s.t.patience):
		s.t.Fatalf("%s does not end", s.name)
	case <-s.t.ctx.Done():
		s.t.Fatalf("the check ran out of time before %s ended", s.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Rest returns what came and was not taken.
func (s *Stream) Rest() []*Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.frames)
}

// Send sends a WebSocket request, which counts as one of the caller's.
func (s *Stream) Send(request object) {
	raw, err := json.Marshal(request)
	s.t.Must(err)
	s.SendRaw(websocket.MessageText, raw)
}

// SendRaw sends a message.
func (s *Stream) SendRaw(kind websocket.MessageType, raw []byte) {
	if s.conn == nil {
		s.t.Fatalf("%s is no WebSocket: %v", s.name, s.Refuse)
	}
	if err := s.t.requests.Wait(s.t.ctx); err != nil {
		s.t.Fatalf("%v", err)
	}
	s.t.Must(s.conn.Write(s.t.ctx, kind, raw))
}

// Ask sends a request and returns its answer; what comes before it stays to be taken.
func (s *Stream) Ask(request object) *Frame {
	s.Send(request)
	f, err := s.pick(s.t.patience, func(f *Frame) bool {
		return f.Type() == "ok" || f.Type() == "error" || f.Type() == "pong"
	})
	if err != nil {
		s.t.Fatalf("no answer to %s: %v", text(request), err)
	}
	return f
}
