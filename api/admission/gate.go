package admission

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/warren-gateway/warren/broker"
)

// Names of the bounds, as broker.Error.Limit has them: the flags that set them.
const (
	LimitRequests      = "request-rate-per-caller"
	LimitCreates       = "create-rate-per-caller"
	LimitCreatesTotal  = "create-rate"
	LimitSubscriptions = "max-subscriptions-per-caller"
	LimitStreams       = "max-streams-per-caller"
	LimitStreamsTotal  = "max-streams"
)

// countRetry is what a refusal by a count asks for: nobody can know when a
// place becomes free, and coming back every second would be one more load.
const countRetry = 5 * time.Second

// Limits are the bounds. The zero value refuses everything: start from DefaultLimits.
type Limits struct {
	// RequestRate is how many requests a caller may make per second (--request-rate-per-caller).
	RequestRate float64
	// RequestBurst is how many at once after a pause (--request-burst-per-caller).
	RequestBurst int
	// CreateRatePerCaller is how many subscriptions a caller may make per second (--create-rate-per-caller).
	CreateRatePerCaller float64
	// CreateBurstPerCaller is how many at once after a pause (--create-burst-per-caller).
	CreateBurstPerCaller int
	// CreateRate is how many subscriptions the process makes per second (--create-rate);
	// one second's worth of it at once. A broker on two cores accepts 250 to 500.
	CreateRate float64
	// SubscriptionsPerCaller is how many a caller owns at most (--max-subscriptions-per-caller).
	SubscriptionsPerCaller int
	// StreamsPerCaller is how many a caller has open at most (--max-streams-per-caller).
	StreamsPerCaller int
	// Streams is how many are open at most in the process (--max-streams).
	Streams int
	// MaxCallers is how many callers are told apart at the same time; about 400 bytes each.
	MaxCallers int
}

// DefaultLimits returns the defaults of the contract.
func DefaultLimits() Limits {
	return Limits{
		RequestRate:            50,
		RequestBurst:           200,
		CreateRatePerCaller:    10,
		CreateBurstPerCaller:   50,
		CreateRate:             100,
		SubscriptionsPerCaller: 50,
		StreamsPerCaller:       1000,
		Streams:                50000,
		MaxCallers:             100000,
	}
}

// Gate admits or refuses. Make it with New; it is safe for concurrent use and
// starts no goroutine.
type Gate struct {
	limits  Limits
	creates *rate.Limiter
	now     func() time.Time

	mu      sync.Mutex // guards everything below, and every caller
	callers callerTable
	streams int
	owned   int
}

// New returns a gate with these bounds.
func New(limits Limits) *Gate {
	limits.MaxCallers = max(limits.MaxCallers, 1)
	return &Gate{
		limits:  limits,
		creates: rate.NewLimiter(rate.Limit(limits.CreateRate), max(1, int(limits.CreateRate))),
		now:     time.Now,
		callers: newCallerTable(limits.MaxCallers),
	}
}

// Request counts one request of the caller. The error is a *broker.Error of
// CodeRateLimited with RetryAfter.
func (g *Gate) Request(key string) error {
	now := g.now()
	g.mu.Lock()
	c := g.caller(key, now)
	wait := take(c.requests, now)
	g.mu.Unlock()
	if wait > 0 {
		return rateLimited(LimitRequests, wait, "too many requests; slow down")
	}
	return nil
}

// Spent answers what Request would answer now, and counts nothing: for what is
// cheap to refuse and dear to look at.
func (g *Gate) Spent(key string) error {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	c, known := g.callers.get(key)
	if !known {
		return nil
	}
	r := c.requests.ReserveN(now, 1)
	wait := delay(r, now)
	r.CancelAt(now)
	if wait > 0 {
		return rateLimited(LimitRequests, wait, "too many requests; slow down")
	}
	return nil
}

// Create counts one creation of a subscription, against the caller's rate and
// the process's. Errors are *broker.Error of CodeRateLimited, or CodeOverCapacity
// when it is the process that has to wait, with RetryAfter.
func (g *Gate) Create(key string) error {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.caller(key, now).creates.ReserveN(now, 1)
	if wait := delay(own, now); wait > 0 {
		own.CancelAt(now)
		return rateLimited(LimitCreates, wait, "too many new subscriptions; slow down")
	}
	if wait := take(g.creates, now); wait > 0 {
		own.CancelAt(now)
		err := broker.Errorf(broker.CodeOverCapacity, "the gateway is busy making subscriptions")
		err.Limit, err.RetryAfter = LimitCreatesTotal, wait
		return err
	}
	return nil
}

// Stream counts one open stream of the caller. Errors are *broker.Error of
// CodeLimitReached, or CodeOverCapacity for the process.
func (g *Gate) Stream(key string) (*Slot, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.caller(key, g.now())
	if c.streams >= g.limits.StreamsPerCaller {
		return nil, errStreams()
	}
	if g.streams >= g.limits.Streams {
		return nil, counted(broker.CodeOverCapacity, LimitStreamsTotal, "the gateway has as many streams open as it may")
	}
	c.streams++
	g.streams++
	return &Slot{gate: g, caller: c, kind: slotStream}, nil
}

// Owned counts one subscription of the caller. most tightens the bound, as a
// token may. At the bound there may be one more, if one yields (Slot.Yields),
// which Slot.Settle sees to. The error is a *broker.Error of CodeLimitReached.
func (g *Gate) Owned(key string, most int) (*Slot, error) {
	bound := min(g.limits.SubscriptionsPerCaller, most)
	for {
		slot, candidates, above := g.takeOwned(key, bound)
		if slot != nil {
			return slot, nil
		}
		// What a subscription is asked, and its end, which calls back into the gate, are not for under the lock.
		candidates = slices.DeleteFunc(candidates, func(s *Slot) bool { return !s.idle() })
		if len(candidates) <= above || !yield(candidates[:above]) {
			return nil, errOwned()
		}
		if slot = g.takeOneMore(key, bound); slot != nil {
			return slot, nil
		}
	}
}

// takeOwned returns a slot below the bound; else those that may give way, oldest
// first, and how many more than the bound there are.
func (g *Gate) takeOwned(key string, bound int) (slot *Slot, candidates []*Slot, above int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.caller(key, g.now())
	if len(c.owned) < bound {
		return g.own(c, bound), nil, 0
	}
	return nil, c.yielding(), len(c.owned) - bound
}

// takeOneMore returns a slot if there are no more than the bound.
func (g *Gate) takeOneMore(key string, bound int) *Slot {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.caller(key, g.now()); len(c.owned) <= bound {
		return g.own(c, bound)
	}
	return nil
}

// own counts one more. g.mu is held.
func (g *Gate) own(c *caller, bound int) *Slot {
	slot := &Slot{gate: g, caller: c, kind: slotOwned, bound: bound}
	c.owned = append(c.owned, slot)
	g.owned++
	return slot
}

func errStreams() error {
	return counted(broker.CodeLimitReached, LimitStreams, "this caller has as many streams open as it may")
}

func errOwned() error {
	return counted(broker.CodeLimitReached, LimitSubscriptions, "this caller has as many subscriptions as it may")
}

// yield makes all of them give way, and reports whether all did.
func yield(slots []*Slot) bool {
	for _, s := range slots {
		if !s.yields() {
			return false
		}
		s.Release()
	}
	return true
}

// Counts is what a gate holds at a moment.
type Counts struct {
	// Streams and Owned are all slots that were taken and not released.
	Streams, Owned int
	// Callers is how many callers are remembered.
	Callers int
}

// Counts returns what is held now.
func (g *Gate) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Counts{Streams: g.streams, Owned: g.owned, Callers: g.callers.len()}
}

// take takes one token, or says how long to wait for one and takes none.
func take(l *rate.Limiter, now time.Time) time.Duration {
	r := l.ReserveN(now, 1)
	wait := delay(r, now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// delay is how long to wait for a reservation. A bucket that never fills (a
// rate or burst of zero) is an hour away, not for ever: the number goes on the wire.
func delay(r *rate.Reservation, now time.Time) time.Duration {
	if !r.OK() {
		return time.Hour
	}
	return min(r.DelayFrom(now), time.Hour)
}

func rateLimited(limit string, wait time.Duration, detail string) error {
	err := broker.Errorf(broker.CodeRateLimited, detail)
	err.Limit, err.RetryAfter = limit, wait
	return err
}

func counted(code broker.Code, limit, detail string) error {
	err := broker.Errorf(code, detail)
	err.Limit, err.RetryAfter = limit, countRetry
	return err
}
