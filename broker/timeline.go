package broker

import (
	"slices"
	"time"
)

// timeline remembers, a second apart, how far a log had come, so that a loss
// known by its time becomes a range of positions. It is guarded by the
// subscription's mutex.
type timeline struct {
	samples []sample // oldest first, at most timelineLen
	touched time.Time
}

const (
	timelineLen  = 64
	timelineStep = time.Second
)

// sample says that the log had reached offset at every time after its own.
type sample struct {
	after  time.Time
	offset uint64
}

// note records that something is appended at the time now, and that until then
// the newest offset is newest.
func (t *timeline) note(now time.Time, newest uint64) {
	last := t.touched // the log has been at newest ever since
	t.touched = now
	if n := len(t.samples); n > 1 && last.Sub(t.samples[n-2].after) < timelineStep {
		t.samples[n-1] = sample{after: last, offset: newest}
		return
	}
	if len(t.samples) == timelineLen {
		t.samples = append(t.samples[:0], t.samples[timelineLen/2:]...)
	}
	t.samples = append(t.samples, sample{after: last, offset: newest})
}

// before returns an offset that the log, which is at newest now, had reached at
// the time. It may be too small, never too large: it is 0 for a time before
// everything remembered.
func (t *timeline) before(at time.Time, newest uint64) uint64 {
	if at.After(t.touched) {
		return newest
	}
	for _, s := range slices.Backward(t.samples) {
		if at.After(s.after) {
			return s.offset
		}
	}
	return 0
}
