package rabbitmq

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/warren-gateway/warren/broker"
)

// queue is one subscription's queue through its incarnations.
type queue struct {
	src    *Source
	stream string
	// closing is closed by shut, removed when nothing is left at the broker.
	closing, removed chan struct{}
	removing         sync.Once
	urgent           atomic.Bool
	// inc is the incarnation that delivers, nil while it is being made again. It changes with mu held.
	inc atomic.Pointer[incarnation]

	// change is held (it has a token) by who changes bindings or the incarnation; this includes waiting for the broker.
	change chan struct{}

	// mu guards the rest. The sink is called with it held, which is what puts the events in order. Nobody holds it while waiting
	// for an answer of the broker: the readers of connections, which bring the answers, take it.
	mu           sync.Mutex
	sink         broker.Sink
	kept         []broker.Event // what came before there was a sink
	closed       bool
	bounds       []*bound
	conn         *conn // where it has a place; nil: nowhere
	incarnations uint64
	lastTag      uint64 // of the incarnations before
	burst        burst
}

// bound is a binding that the queue has, or would have if its exchange were there.
type bound struct {
	binding broker.Binding
	missing bool
	// lost is set when the exchange was found missing while a new incarnation, or this binding alone, was being made again, which
	// may have been bound before.
	lost bool
}

var _ broker.Queue = (*queue)(nil)

func newQueue(s *Source, spec broker.QueueSpec) *queue {
	q := &queue{
		src:     s,
		stream:  spec.Stream,
		closing: make(chan struct{}),
		removed: make(chan struct{}),
		change:  make(chan struct{}, 1),
	}
	q.add(spec.Bindings)
	return q
}

// start begins to deliver.
func (q *queue) start(c *conn, inc *incarnation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conn = c
	q.enter(inc)
	q.tellLost()
}

// enter makes an incarnation the current one, also when the queue was closed meanwhile: remove deletes it. The caller holds mu.
func (q *queue) enter(inc *incarnation) {
	inc.base = q.lastTag
	inc.stage = current
	q.inc.Store(inc)
	q.src.spawn(func() { // If it is not, the connections are being closed.
		inc.wait()
		q.mu.Lock()
		defer q.mu.Unlock()
		q.lose(inc)
	})
	for _, d := range inc.waiting {
		d.Tag += inc.base
		q.emit(d)
	}
	inc.waiting = nil
	q.flushed()
	switch {
	case q.closed && inc.lane.shared:
		inc.giveUp()
	case inc.spoiled:
		q.lose(inc)
	}
}

// tellLost tells of exchanges that were deleted between the binding and start. The caller holds mu.
func (q *queue) tellLost() {
	var ids []string
	for _, b := range q.bounds {
		if b.lost {
			b.lost, b.missing = false, true
			ids = append(ids, b.binding.ID())
			q.src.exchanges.probeSoon(b.binding.Exchange()) // It may be back.
		}
	}
	if ids != nil {
		q.post(&broker.BindingsLost{IDs: ids})
	}
}

// Start implements broker.Queue.
func (q *queue) Start(sink broker.Sink) {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.kept
	q.sink, q.kept = sink, nil
	for _, e := range kept {
		q.emit(e)
	}
	q.flushed()
}

// SetPriority says whether somebody reads the subscription: such queues are made again first after a loss.
func (q *queue) SetPriority(attached bool) { q.urgent.Store(attached) }

// emit hands an event on. The caller holds mu.
func (q *queue) emit(e broker.Event) {
	switch {
	case q.closed:
	case q.sink != nil:
		q.sink.Take(e)
	default:
		if d, ok := e.(*broker.Delivery); ok {
			e = keep(d)
		}
		q.kept = append(q.kept, e) // The prefetch bounds them, as nobody acknowledges.
	}
}

// flushed says that no more is at hand. The caller holds mu.
func (q *queue) flushed() {
	if q.sink != nil && !q.closed {
		q.sink.Flush()
	}
}

// flush is flushed for who does not hold mu.
func (q *queue) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flushed()
}

// post hands an event on that comes alone. The caller holds mu.
func (q *queue) post(e broker.Event) {
	q.emit(e)
	q.flushed()
}

// lose begins to make the queue again, if that incarnation is its current one. The caller holds mu.
func (q *queue) lose(inc *incarnation) {
	if q.closed || inc.stage != current {
		return
	}
	reason := broker.GapQueueLost
	if inc.conn.IsClosed() {
		reason = broker.GapBrokerReconnected
	}
	inc.stage = lost
	q.inc.Store(nil)
	q.lastTag = inc.base + inc.delivered.Load()
	if reason == broker.GapBrokerReconnected {
		// What was still to be counted is gone with the connection.
		q.endBurst(unknown)
	}
	q.post(&broker.Recovering{})
	q.src.stats.recoveries.add()
	q.src.stats.recovering.Add(1)
	q.src.spawn(func() {
		defer q.src.stats.recovering.Add(-1)
		q.rebuild(inc, reason)
	})
}

// shut ends the events.
func (q *queue) shut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		q.kept = nil
		if inc := q.inc.Load(); inc != nil && inc.lane.shared {
			inc.giveUp() // not only with the queue: until then nobody on the channel could be acknowledged
		}
		close(q.closing)
	}
}

// Close implements broker.Queue.
func (q *queue) Close(ctx context.Context) error {
	q.shut()
	q.removing.Do(func() {
		if !q.src.spawn(q.remove) {
			close(q.removed) // The connections are being closed, and take the queues with them.
		}
	})
	select {
	case <-q.removed:
		return nil
	case <-ctx.Done():
		return interrupted(ctx)
	}
}

// remove leaves nothing at the broker.
func (q *queue) remove() {
	defer close(q.removed)
	q.change <- struct{}{} // for ever: there are no more changes
	q.mu.Lock()
	c, inc := q.conn, q.inc.Swap(nil)
	q.conn = nil
	bindings := q.bindings()
	q.mu.Unlock()
	q.src.exchanges.unuse(q, bindings)
	q.src.drop(q)
	if inc != nil {
		inc.discard()
	}
	if c != nil {
		c.forget(q)
		q.src.pool.release(c)
	}
}

// wanted returns the bindings to make a new incarnation with, and the ids of the others: when recovering, those whose exchange
// is known to be missing, which would only cost the quick way.
func (q *queue) wanted(m mode) (bindings []broker.Binding, missing []string) {
	q.mu.Lock()
	all := q.bindings()
	q.mu.Unlock()
	if m == strict {
		return all, nil
	}
	for _, b := range all {
		if q.src.exchanges.isMissing(b.Exchange()) {
			missing = append(missing, b.ID())
		} else {
			bindings = append(bindings, b)
		}
	}
	return bindings, missing
}

// bindings returns all of them. The caller holds mu.
func (q *queue) bindings() []broker.Binding {
	all := make([]broker.Binding, len(q.bounds))
	for i, b := range q.bounds {
		all[i] = b.binding
	}
	return all
}
