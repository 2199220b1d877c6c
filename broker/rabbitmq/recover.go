package rabbitmq

import (
	"log/slog"
	"slices"
	"sync"

	"github.com/warren-gateway/warren/broker"
)

// rebuild makes a new incarnation in the place of a lost one, however long that takes.
func (q *queue) rebuild(lost *incarnation, reason broker.GapReason) {
	clearAway := func() {} // deletes the old one, of which remove knows nothing
	if reason == broker.GapQueueLost {
		q.src.often.Warn("queue lost; making it again", slog.String("stream", q.stream), slog.Any("error", lost.lane.reason()))
		if lost.hasEnded() {
			lost.leave()
			clearAway = sync.OnceFunc(func() { lost.conn.discardRestarted(lost.name) })
		} else {
			lost.discard()
		}
	}
	defer clearAway()
	select {
	case q.change <- struct{}{}:
	case <-q.closing:
		return
	}
	defer func() { <-q.change }()
	for attempt := 0; ; attempt++ {
		if !wait(q.closing, q.src.backoff(attempt)) {
			return
		}
		c, err := q.place()
		if err != nil {
			return // closed
		}
		err = q.reincarnate(c, reason)
		if err == nil {
			return
		}
		clearAway() // It may be what is in the way, of a limit for one.
		q.src.often.Warn("cannot make a queue again", slog.String("stream", q.stream), slog.Any("error", err))
	}
}

// place returns a connection with a place for the queue: the one it has, or a new one if that is gone.
func (q *queue) place() (*conn, error) {
	q.mu.Lock()
	c := q.conn
	q.mu.Unlock()
	if c != nil {
		if !c.IsClosed() {
			return c, nil
		}
		c.forget(q)
		q.src.pool.release(c)
		q.mu.Lock()
		q.conn = nil
		q.mu.Unlock()
	}
	c, err := q.src.pool.acquire(q.closing, true)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.conn = c
	q.mu.Unlock()
	return c, nil
}

// reincarnate makes the queue on a connection and goes on with it.
func (q *queue) reincarnate(c *conn, reason broker.GapReason) error {
	if !q.src.gate.enter(q.closing, q.urgent.Load()) {
		return nil
	}
	inc, missing, err := c.make(q, lenient)
	q.src.gate.leave()
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	event := &broker.Recovered{Reason: reason}
	for _, b := range q.bounds {
		b.missing = b.lost || slices.Contains(missing, b.binding.ID())
		if b.lost {
			b.lost = false
			q.src.exchanges.probeSoon(b.binding.Exchange()) // It may be back, and the binding there.
		}
		if b.missing {
			event.Missing = append(event.Missing, b.binding.ID())
		}
	}
	q.post(event)
	q.enter(inc)
	return nil
}
