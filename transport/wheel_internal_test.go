package transport

import (
	"slices"
	"testing"
	"time"
)

// A WebSocket's own pings are due apart from its frames ping when something was
// sent some time after the opening: the wheel must look again for the other.
func TestPingOfTheSocketDoesNotPutOffTheFrame(t *testing.T) {
	now := time.Duration(0)
	w := newWheel(16*time.Second, func() time.Duration { return now }) // with a tick of 1 s
	st := &stream{ws: &wsConn{}}
	st.flags.Store(flagRunning) // it has a turn: notify sets flags and queues nothing
	w.add(st)
	var looked []time.Duration
	for now = time.Second; now <= 40*time.Second; now += time.Second {
		if now == 2*time.Second {
			st.lastSent.Store(int64(now))
		}
		w.turn()
		if st.flags.Swap(flagRunning)&flagBeat == 0 {
			continue
		}
		looked = append(looked, now)
		if now >= w.early(&st.lastPing) {
			st.lastPing.Store(int64(now))
		}
		if now >= w.early(&st.lastSent) {
			st.lastSent.Store(int64(now))
		}
	}
	if !slices.Contains(looked, 17*time.Second) {
		t.Errorf("the frame ping is due at 17s, and the stream was woken at %v", looked)
	}
}
