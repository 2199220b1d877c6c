package transport

import (
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// latencyBounds are the upper bounds of the buckets: from a wake-up on an idle
// machine to readers that hardly take anything.
var latencyBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// histogram counts durations: two atomic additions each, no lock, no memory.
type histogram struct {
	counts [len(latencyBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Histogram is how many of some durations were how long.
type Histogram struct {
	// UpTo has for each bound how many durations were at most that.
	UpTo map[time.Duration]uint64
	// Count is how many there were, Sum what they add up to.
	Count uint64
	Sum   time.Duration
}

func (h *histogram) snapshot() Histogram {
	s := Histogram{UpTo: make(map[time.Duration]uint64, len(latencyBounds)), Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		s.Count += h.counts[i].Load()
		if i < len(latencyBounds) {
			s.UpTo[latencyBounds[i]] = s.Count
		}
	}
	return s
}

// observe notes how long the first message of what was just written took, if
// that is the gateway's and the client's doing. It goes by the time that count
// has noted: another look at the clock would cost more than all the rest.
func (st *stream) observe(frames []broker.Frame) {
	if !st.att.Live() {
		return
	}
	for i := range frames {
		received := frames[i].Received()
		if received == 0 {
			continue
		}
		c := st.srv.counters(st.transport)
		took := max(time.Duration(st.lastSent.Load())+st.srv.sinceEpoch-received, 0)
		c.fromReceipt.observe(took)
		if age, known := frames[i].Age(); known {
			c.fromPublish.observe(took + age)
		}
		return
	}
}
