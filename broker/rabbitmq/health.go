package rabbitmq

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// Health implements broker.Source. Its reasons name no address.
func (s *Source) Health() broker.Health {
	conns := len(s.pool.all())
	recovering := s.recovering()
	c := &s.canary
	c.mu.Lock()
	defer c.mu.Unlock()
	h := broker.Health{Ready: conns > 0, RoundTrip: c.roundTrip}
	if waited := c.waited(); waited > h.RoundTrip {
		h.RoundTrip = waited
	}
	if conns == 0 {
		h.Reasons = append(h.Reasons, "there is no connection to the message broker")
	}
	overloaded := func(when bool, reason string) {
		if when {
			h.Overloaded = true
			h.Reasons = append(h.Reasons, reason)
		}
	}
	overloaded(c.failed != nil, "the message broker's health is not known: the connection that measures it is down")
	overloaded(c.blocked, "the message broker has an alarm and blocks publishers")
	overloaded(!c.held && h.RoundTrip >= s.opts.SlowRoundTrip, "the message broker answers slowly")
	overloaded(recovering > s.opts.RecoverConcurrency, "many queues are being made again after a loss")
	h.Reasons = append(h.Reasons, s.permissions.reasons()...)
	return h
}

// waited is for how long a confirm has been awaited. The caller holds mu.
func (c *canary) waited() time.Duration {
	if c.sent.IsZero() {
		return 0
	}
	return time.Since(c.sent)
}

// recovering counts the queues that are being made again.
func (s *Source) recovering() int { return int(s.stats.recovering.Load()) }

// Stats are figures for metrics. Counts are since New.
type Stats struct {
	// Connections is how many connections that own queues are up.
	Connections int
	// CanaryUp is whether the canary's connection is up, Blocked whether the broker blocks publishers.
	CanaryUp, Blocked bool
	// RoundTrip is the canary's last round trip; zero if none was measured.
	RoundTrip time.Duration
	// Queues is how many queues there are, Recovering how many of them are being made again.
	Queues, Recovering int
	// Unacked is how many deliveries were received that the core has not acknowledged.
	Unacked uint64
	// Connects counts connections that own queues, ConnectFailures attempts that failed, Losses such connections that ended
	// by themselves.
	Connects, ConnectFailures, Losses uint64
	// Recoveries counts incarnations of queues that were lost.
	Recoveries uint64
	// DeadLettered counts messages that the broker dropped from queues.
	DeadLettered uint64
	// Poisoned counts messages whose headers were taken off, because they nest deeper than 32 levels, hold more than 8,192
	// entries or a type that is not AMQP 0-9-1's.
	Poisoned uint64
}

// Stats returns the figures of the moment.
func (s *Source) Stats() Stats {
	h := s.Health()
	st := Stats{
		Connections:     len(s.pool.all()),
		RoundTrip:       h.RoundTrip,
		Recovering:      s.recovering(),
		Connects:        s.stats.connects.n.Load(),
		ConnectFailures: s.stats.failures.n.Load(),
		Losses:          s.stats.losses.n.Load(),
		Recoveries:      s.stats.recoveries.n.Load(),
		DeadLettered:    s.stats.deadLetters.n.Load(),
		Poisoned:        s.stats.poisoned.n.Load(),
	}
	s.canary.mu.Lock()
	st.CanaryUp, st.Blocked = s.canary.up, s.canary.blocked
	s.canary.mu.Unlock()
	s.mu.Lock()
	queues := slices.Collect(maps.Keys(s.queues))
	s.mu.Unlock()
	st.Queues = len(queues)
	for _, q := range queues { // without mu: a ledger is held while an ack is written
		st.Unacked += q.unacked()
	}
	return st
}

// unacked is how many deliveries of the current incarnation the core has not acknowledged.
func (q *queue) unacked() uint64 {
	inc := q.inc.Load()
	if inc == nil {
		return 0
	}
	inc.lane.ledger.mu.Lock()
	defer inc.lane.ledger.mu.Unlock()
	return inc.delivered.Load() - inc.settled
}

// stats are the running counts.
type stats struct {
	connects, failures, losses, recoveries, deadLetters, poisoned counter
	recovering                                                    atomic.Int64
}

type counter struct{ n atomic.Uint64 }

func (c *counter) add() { c.n.Add(1) }
