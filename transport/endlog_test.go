package transport

import (
	"fmt"
	"testing"
	"time"
)

func TestEndsThatWereNotLoggedAreToldWithTheNext(t *testing.T) {
	var l endLog
	var got string
	for _, seconds := range []int{0, 1, 9, 10, 11, 30, 31} {
		if skipped, due := l.due(ReasonClientGone, time.Duration(seconds)*time.Second); due {
			got += fmt.Sprintf("%d s: %d; ", seconds, skipped)
		}
	}
	if want := "0 s: 0; 10 s: 2; 30 s: 1; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if skipped, due := l.due(ReasonSlowReader, 31*time.Second); skipped != 0 || !due {
		t.Errorf("another reason: %d, %v", skipped, due)
	}
}

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
