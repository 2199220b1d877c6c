package admission

import (
	"time"

	"golang.org/x/time/rate"
)

// caller is what the gate knows of one caller; guarded by Gate.mu.
type caller struct {
	requests *rate.Limiter
	creates  *rate.Limiter
	owned    []*Slot // oldest first
	streams  int
}

// idle reports whether a new entry would answer exactly as this one does.
func (c *caller) idle(now time.Time) bool {
	return c.streams == 0 && len(c.owned) == 0 &&
		full(c.requests, now) && full(c.creates, now)
}

func full(l *rate.Limiter, now time.Time) bool {
	return l.TokensAt(now) >= float64(l.Burst())
}

// callerTable remembers callers, at most bound of them, and one that stands
// for all others. Entries are swept when the table has doubled since the last
// sweep, so that a call costs constant time on the average.
type callerTable struct {
	byKey   map[string]*caller
	others  *caller
	bound   int
	sweepAt int       // sweep when there are this many
	swept   time.Time // when the table was last swept
}

// minSweep keeps small tables from being swept at all.
const minSweep = 1024

func newCallerTable(bound int) callerTable {
	return callerTable{byKey: make(map[string]*caller), bound: bound, sweepAt: min(minSweep, bound)}
}

func (t *callerTable) get(key string) (*caller, bool) {
	c, ok := t.byKey[key]
	return c, ok
}

func (t *callerTable) len() int { return len(t.byKey) }

// caller returns the entry of the key, made if needed. g.mu is held.
func (g *Gate) caller(key string, now time.Time) *caller {
	t := &g.callers
	if c, ok := t.byKey[key]; ok {
		return c
	}
	// A full table of busy callers must not be walked at each request of a
	// flood of addresses: once a second at most.
	if len(t.byKey) >= t.sweepAt && now.Sub(t.swept) >= time.Second {
		t.sweep(now)
	}
	if len(t.byKey) >= t.bound {
		if t.others == nil {
			t.others = g.newCaller()
		}
		return t.others
	}
	c := g.newCaller()
	t.byKey[key] = c
	return c
}

func (g *Gate) newCaller() *caller {
	return &caller{
		requests: rate.NewLimiter(rate.Limit(g.limits.RequestRate), g.limits.RequestBurst),
		creates:  rate.NewLimiter(rate.Limit(g.limits.CreateRatePerCaller), g.limits.CreateBurstPerCaller),
	}
}

// sweep forgets idle callers. It copies, because a Go map never shrinks.
func (t *callerTable) sweep(now time.Time) {
	busy := make(map[string]*caller, len(t.byKey)/2)
	for key, c := range t.byKey {
		if !c.idle(now) {
			busy[key] = c
		}
	}
	t.byKey = busy
	t.sweepAt = min(max(minSweep, 2*len(busy)), t.bound)
	t.swept = now
}

// yielding returns the subscriptions that may give way, oldest first.
func (c *caller) yielding() []*Slot {
	var out []*Slot
	for _, s := range c.owned {
		if s.yields != nil {
			out = append(out, s)
		}
	}
	return out
}
