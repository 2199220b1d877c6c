package rabbitmq

import (
	"sync"
	"time"
)

// ackDelay is how long an ack waits for more to come, unless a quarter of the prefetch is waiting. The broker holds what is
// not acknowledged, but sends on as long as there is prefetch left, so the wait delays nothing.
const ackDelay = 100 * time.Millisecond

// acker sends the acks of a connection's queues that wait for more to come.
type acker struct {
	conn *conn
	wake chan struct{} // has a token when waiting is not empty

	mu      sync.Mutex // guards the rest
	waiting []*incarnation
}

func (a *acker) init(c *conn) {
	a.conn = c
	a.wake = make(chan struct{}, 1)
}

func (a *acker) add(inc *incarnation) {
	a.mu.Lock()
	a.waiting = append(a.waiting, inc)
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
		for _, inc := range waiting {
			inc.ackMu.Lock()
			inc.waiting = false
			inc.sendAck()
			inc.ackMu.Unlock()
		}
		a.conn.wire.uncork()
	}
}

// Ack implements broker.Queue.
func (q *queue) Ack(tag uint64) {
	q.mu.Lock()
	inc := q.inc
	q.mu.Unlock()
	if inc == nil || tag <= inc.base {
		return
	}
	inc.ackMu.Lock()
	defer inc.ackMu.Unlock()
	if tag -= inc.base; tag <= inc.appended {
		return
	}
	inc.appended = tag
	switch {
	case inc.appended-inc.acked >= uint64(q.src.opts.Prefetch+3)/4:
		inc.sendAck()
	case !inc.waiting:
		inc.waiting = true
		inc.conn.acks.add(inc)
	}
}

// sendAck acknowledges what was appended. The caller holds ackMu while it is sent: of two acks in the wrong order the second is
// of an unknown tag, for which the broker closes the channel.
func (inc *incarnation) sendAck() {
	if inc.appended > inc.acked {
		inc.acked = inc.appended
		_ = inc.ch.Ack(inc.acked, true) // An error means that the channel is gone, and with it what was unacknowledged.
	}
}
