package transport

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

// slowResponse takes everything, and at one step only after the deadline: net/http resets the stream then, and yet says that
// all is written.
type slowResponse struct {
	http.ResponseWriter
	clock  time.Duration
	steps  int
	slowAt int
}

func (r *slowResponse) step() error {
	if r.steps++; r.steps == r.slowAt {
		r.clock += time.Minute
	}
	return nil
}

func (r *slowResponse) Write(p []byte) (int, error)      { return len(p), r.step() }
func (r *slowResponse) FlushError() error                { return r.step() }
func (r *slowResponse) SetWriteDeadline(time.Time) error { return nil }

func TestWhoeverTakesSomethingTooLateIsSlowAtWhateverStep(t *testing.T) {
	const steps = 4 // three pieces and the flush
	for slowAt := range steps + 1 {
		w := &slowResponse{clock: time.Hour, slowAt: slowAt}
		o := &response{w: w, rc: http.NewResponseController(w), timeout: time.Second, now: func() time.Duration { return w.clock }}
		b := newBatch()
		b.rest = [][]byte{make([]byte, 2*responsePiece), make([]byte, 1)}
		whole, err := o.write(b)
		if slowAt == 0 && (err != nil || !whole || w.steps != steps) {
			t.Errorf("never slow: %v, %v after %d steps", whole, err, w.steps)
		}
		if slowAt > 0 && (!errors.Is(err, errSlow) || whole || w.steps != slowAt) {
			t.Errorf("slow at step %d: %v, %v after %d steps", slowAt, whole, err, w.steps)
		}
		o.deadline, w.steps = w.clock, 0 // one that passed since the last turn
		if whole, err := o.write(b); !errors.Is(err, errSlow) || whole || w.steps != 0 {
			t.Errorf("late before: %v, %v after %d steps", whole, err, w.steps)
		}
	}
}
