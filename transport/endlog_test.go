package transport

import (
	"testing"
	"time"
)

func TestHistogramHasEachDurationOnce(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, latencyBounds[0], latencyBounds[0] + 1, time.Second, time.Hour} {
		h.observe(d)
	}
	s := h.snapshot()
	if s.Count != 5 || s.Sum != time.Hour+time.Second+2*latencyBounds[0]+1 {
		t.Errorf("%d durations of %v", s.Count, s.Sum)
	}
	for bound, want := range map[time.Duration]uint64{latencyBounds[0]: 2, latencyBounds[1]: 3, time.Second: 4, 30 * time.Second: 4} {
		if s.UpTo[bound] != want {
			t.Errorf("%d durations up to %v, want %d", s.UpTo[bound], bound, want)
		}
	}
}

func TestObservingAllocatesNothing(t *testing.T) {
	var h histogram
	if n := testing.AllocsPerRun(100, func() { h.observe(time.Millisecond) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
