package transport

import (
	"testing"
	"time"
)

// A WebSocket's own pings are due apart from its frames ping when something was sent some time after the opening.
func TestPingOfTheSocketDoesNotPutOffTheFrame(t *testing.T) {
	w := newWheel(16*time.Second, nil) // with a tick of 1 s
	st := &stream{ws: &wsConn{}}
	st.lastSent.Store(int64(2 * time.Second))
	const now = 15 * time.Second
	if due := w.due(st); due != now {
		t.Fatalf("the socket's ping is due at %v", due)
	}
	if next := w.next(st, now); next != 17*time.Second {
		t.Errorf("after it the frame is due at %v", next)
	}
	st.ws = nil
	if next := w.next(st, 17*time.Second); next != 33*time.Second {
		t.Errorf("after a frame of an EventSource the next is due at %v", next)
	}
}
