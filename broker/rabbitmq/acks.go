package rabbitmq

import (
	"sync"
	"time"
)

// ackDelay is how long an ack waits for more to come, unless a quarter of a queue's prefetch is waiting. The broker holds what
// is not acknowledged, but sends on as long as there is prefetch left, so the wait delays nothing.
const ackDelay = 100 * time.Millisecond

// ledger knows which deliveries of a channel are settled. An ack covers all deliveries up to one, whichever consumer they
// went to, so it goes as far as there is no unsettled one.
type ledger struct {
	mu      sync.Mutex // guards the rest, and what incarnations keep of their deliveries
	low     uint64     // all delivery tags up to this one are settled
	acked   uint64     // what the broker was told
	ahead   tagSet     // settled ones above low
	round   uint64     // counts acks
	waiting bool       // the acker has the lane
	over    bool       // the channel is being closed
}

// settle takes note that a delivery needs nothing more. The caller holds mu.
func (l *ledger) settle(tag uint64) {
	if tag != l.low+1 {
		l.ahead.add(tag, l.low)
		return
	}
	l.low++
	for l.ahead.take(l.low + 1) {
		l.low++
	}
}

// tagSet is a set of the tags in a window, as a ring of bits. The prefetch of the consumers bounds the window.
type tagSet struct {
	words []uint64 // a power of two of them
	n     int
}

// add adds a tag above low.
func (s *tagSet) add(tag, low uint64) {
	for tag-low >= uint64(len(s.words))*64 {
		s.grow(low)
	}
	word, bit := s.at(tag)
	if *word&bit == 0 {
		*word |= bit
		s.n++
	}
}

func (s *tagSet) grow(low uint64) {
	old := *s
	*s = tagSet{words: make([]uint64, max(1, 2*len(old.words)))}
	for tag := low + 1; old.n > 0; tag++ {
		if old.take(tag) {
			word, bit := s.at(tag)
			*word |= bit
			s.n++
		}
	}
}

// take removes a tag and reports whether it was there.
func (s *tagSet) take(tag uint64) bool {
	if s.n == 0 {
		return false
	}
	word, bit := s.at(tag)
	if *word&bit == 0 {
		return false
	}
	*word &^= bit
	s.n--
	return true
}

func (s *tagSet) at(tag uint64) (word *uint64, bit uint64) {
	return &s.words[tag/64%uint64(len(s.words))], 1 << (tag % 64)
}

// sendAck acknowledges what is settled. The caller holds the ledger's mu while it is sent: of two acks in the wrong order the
// second is of an unknown tag, for which the broker closes the channel.
func (x *lane) sendAck() {
	l := &x.ledger
	if l.low > l.acked && !l.over {
		l.round++
		l.acked = l.low
		_ = x.ch.Ack(l.acked, true) // An error means that the channel is gone, and with it what was unacknowledged.
	}
}

// ackSoon has what is settled acknowledged after a while. The caller holds the ledger's mu.
func (x *lane) ackSoon() {
	if l := &x.ledger; !l.waiting && l.low > l.acked {
		l.waiting = true
		x.conn.acks.add(x)
	}
}

// took takes note of a delivery and returns its number among the incarnation's.
func (inc *incarnation) took(tag uint64) uint64 {
	if !inc.lane.shared {
		inc.delivered.Store(tag) // its own channel: the same number
		return tag
	}
	inc.lane.ledger.mu.Lock()
	defer inc.lane.ledger.mu.Unlock()
	n := inc.delivered.Add(1)
	inc.tags[n%uint64(len(inc.tags))] = tag
	return n
}

// settle settles the incarnation's deliveries up to a number. The caller holds the ledger's mu.
func (inc *incarnation) settle(n uint64) {
	l := &inc.lane.ledger
	if inc.lane.shared {
		for i := inc.settled + 1; i <= n; i++ {
			l.settle(inc.tags[i%uint64(len(inc.tags))])
		}
	} else {
		l.low = n
	}
	if inc.round != l.round {
		inc.round, inc.unsent = l.round, 0
	}
	inc.unsent += n - inc.settled
	inc.settled = n
}

// Ack implements broker.Queue.
func (q *queue) Ack(tag uint64) {
	inc := q.inc.Load() // without mu, with which the sink is called
	if inc == nil || tag <= inc.base {
		return
	}
	inc.lane.ledger.mu.Lock()
	defer inc.lane.ledger.mu.Unlock()
	n := min(tag-inc.base, inc.delivered.Load())
	if n <= inc.settled {
		return
	}
	inc.settle(n)
	if inc.unsent >= uint64(q.src.opts.Prefetch+3)/4 {
		inc.lane.sendAck()
	} else {
		inc.lane.ackSoon()
	}
}

// abandon settles whatever the incarnation got or still gets, so that those who share its channel can go on acknowledging. It
// returns when its consumer, which has ended or is about to, has ended.
func (inc *incarnation) abandon() {
	inc.q.mu.Lock()
	inc.giveUp()
	inc.q.mu.Unlock()
	inc.wait()
}

// giveUp is abandon without the wait. The caller holds q.mu.
func (inc *incarnation) giveUp() {
	inc.stage, inc.waiting = abandoned, nil
	l := &inc.lane.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	inc.settle(inc.delivered.Load())
	inc.lane.ackSoon()
}

// wait returns when the consumer has ended.
func (inc *incarnation) wait() {
	for range inc.ended {
		continue // It brings nothing.
	}
}

// acker sends the acks of a connection's channels that wait for more to come.
type acker struct {
	conn *conn
	wake chan struct{} // has a token when waiting is not empty

	mu      sync.Mutex // guards the rest
	waiting []*lane
}

func (a *acker) init(c *conn) {
	a.conn = c
	a.wake = make(chan struct{}, 1)
}

func (a *acker) add(x *lane) {
	a.mu.Lock()
	a.waiting = append(a.waiting, x)
	first := len(a.waiting) == 1
	a.mu.Unlock()
	if first {
		a.wake <- struct{}{} // There is room: the token was taken before waiting was emptied.
	}
}

func (a *acker) run() {
	for {
		select {
		case <-a.wake:
		case <-a.conn.gone:
			return
		}
		if !wait(a.conn.gone, ackDelay) {
			return
		}
		a.mu.Lock()
		waiting := a.waiting
		a.waiting = nil
		a.mu.Unlock()
		a.conn.wire.cork()
		for _, x := range waiting {
			x.ledger.mu.Lock()
			x.ledger.waiting = false
			x.sendAck()
			x.ledger.mu.Unlock()
		}
		a.conn.wire.uncork()
	}
}
