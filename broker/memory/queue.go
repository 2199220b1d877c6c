package memory

import (
	"context"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// queue is one subscription's queue.
//
// Whoever publishes, acknowledges or changes something moves what may go from
// pending to ready, and has a goroutine carry it from there to the sink: that
// may take its time, and calls Ack. There is one such goroutine at most, and
// none while there is nothing to carry.
type queue struct {
	broker *Broker

	// bounds has the bindings by id, missing ones included. The broker's mu guards it.
	bounds map[string]*bound

	mu       sync.Mutex  // guards what follows
	sink     broker.Sink // nil before Start; set once
	ready    fifo        // what goes to the sink, within the prefetch
	pending  fifo        // what may not go yet
	dropped  int64       // messages dropped from before the head of pending
	since    time.Time   // before the first of those was dropped
	tag      uint64      // of the last delivery that became ready
	acked    uint64
	closed   bool
	carrying bool      // a goroutine does, even if ready is empty
	rest     sync.Cond // of mu: it carries no longer
}

var _ broker.Queue = (*queue)(nil)

func newQueue(b *Broker) *queue {
	q := &queue{broker: b, bounds: make(map[string]*bound)}
	q.rest.L = &q.mu
	return q
}

// Start implements broker.Queue.
func (q *queue) Start(sink broker.Sink) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sink = sink
	q.dispatch()
}

// push adds a message and drops the oldest ones that are too many for it.
func (q *queue) push(m *broker.Message) {
	d := &broker.Delivery{Message: *m}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.pending.push(d, len(m.Body))
	q.advance()
	for q.pending.messages > 1 && (q.pending.messages > q.broker.opts.QueueMaxLength || q.pending.bytes > q.broker.opts.QueueMaxBytes) {
		if q.dropped == 0 {
			q.since = time.Now()
		}
		q.dropped++
		q.pending.dropOldestMessage()
	}
	q.dispatch()
}

// tell adds an event that is no delivery. It is never dropped.
func (q *queue) tell(e broker.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.pending.push(e, 0)
	q.advance()
	q.dispatch()
}

// credit reports whether the prefetch allows another delivery. The caller holds mu.
func (q *queue) credit() bool { return q.tag-q.acked < uint64(q.broker.opts.Prefetch) }

// advance makes ready what may go. The caller holds mu.
func (q *queue) advance() {
	for e := q.pending.head(); e != nil; e = q.pending.head() {
		d, isDelivery := e.(*broker.Delivery)
		if isDelivery && !q.credit() {
			return
		}
		if q.dropped > 0 {
			q.ready.push(&broker.Overflow{Missed: q.dropped, Since: q.since}, 0)
			q.dropped = 0
		}
		if isDelivery {
			q.tag++
			d.Tag = q.tag
		}
		q.pending.pop()
		q.ready.push(e, 0)
	}
}

// dispatch sees to it that what is ready goes to the sink. The caller holds mu.
func (q *queue) dispatch() {
	if q.sink != nil && !q.carrying && q.ready.len() > 0 {
		q.carrying = true
		go q.carry()
	}
}

// carry hands what is ready to the sink until there is nothing left.
func (q *queue) carry() {
	for flushed := true; ; {
		q.mu.Lock()
		e := q.ready.head()
		switch {
		case e != nil:
			q.ready.pop()
		case flushed:
			q.carrying = false
			q.rest.Broadcast()
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		if flushed = e == nil; flushed {
			q.sink.Flush() // It may acknowledge, and make more ready by that.
		} else {
			q.sink.Take(e)
		}
	}
}

// Ack implements broker.Queue.
func (q *queue) Ack(tag uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if tag = min(tag, q.tag); tag > q.acked {
		q.acked = tag
		q.advance()
		q.dispatch()
	}
}

// Bind implements broker.Queue.
func (q *queue) Bind(ctx context.Context, bindings []broker.Binding) error {
	if err := ctx.Err(); err != nil {
		return errTimeout(err)
	}
	q.broker.mu.Lock()
	defer q.broker.mu.Unlock()
	if !q.openLocked() {
		return errClosed()
	}
	return q.broker.bind(q, bindings)
}

// Unbind implements broker.Queue.
func (q *queue) Unbind(ctx context.Context, bindings []broker.Binding) error {
	if err := ctx.Err(); err != nil {
		return errTimeout(err)
	}
	q.broker.mu.Lock()
	defer q.broker.mu.Unlock()
	if !q.openLocked() {
		return errClosed()
	}
	for _, b := range bindings {
		if e := q.bounds[b.ID()]; e != nil {
			q.broker.unbind(e)
		}
	}
	return nil
}

// openLocked reports whether the queue may be bound. The caller holds the
// broker's mu, which shut takes after it has closed the queue.
func (q *queue) openLocked() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed
}

// Close implements broker.Queue. It waits for nobody but the sink, so ctx does
// not matter.
func (q *queue) Close(context.Context) error {
	q.shut()
	return nil
}

// shut unbinds the queue, forgets what it holds and waits until the sink is
// left alone. Until then the broker knows the queue, so that its Close waits too.
func (q *queue) shut() {
	q.mu.Lock()
	q.closed = true
	q.ready, q.pending = fifo{}, fifo{}
	q.mu.Unlock()

	q.broker.mu.Lock()
	for _, e := range q.bounds {
		q.broker.unbind(e)
	}
	q.broker.mu.Unlock()

	q.mu.Lock()
	for q.carrying {
		q.rest.Wait()
	}
	q.mu.Unlock()

	q.broker.mu.Lock()
	delete(q.broker.queues, q)
	q.broker.mu.Unlock()
}
