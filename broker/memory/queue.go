package memory

import (
	"context"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// spareEvents is the room in a queue's channel for events other than
// deliveries, which no prefetch bounds.
const spareEvents = 16

// queue is one subscription's queue.
//
// Whoever publishes, acknowledges or changes something moves what may go from
// pending to the channel. The channel has room for every delivery that the
// prefetch allows, so that this never blocks and needs no goroutine. Only
// where other events fill the channel because nobody reads does a goroutine
// take over.
type queue struct {
	broker *Broker
	events chan broker.Event
	done   chan struct{} // closed when the queue is
	gone   chan struct{} // closed when events is

	// bounds has the bindings by id, missing ones included. The broker's mu guards it.
	bounds map[string]*bound

	mu      sync.Mutex // guards what follows
	pending fifo       // what could not be sent yet
	dropped int64      // messages dropped from before the head of pending
	since   time.Time  // before the first of those was dropped
	tag     uint64     // of the last delivery that was sent
	acked   uint64
	closed  bool
	carrier chan struct{} // closed when the goroutine that sends is gone; nil: there is none
}

var _ broker.Queue = (*queue)(nil)

func newQueue(b *Broker) *queue {
	return &queue{
		broker: b,
		events: make(chan broker.Event, b.opts.Prefetch+spareEvents),
		done:   make(chan struct{}),
		gone:   make(chan struct{}),
		bounds: make(map[string]*bound),
	}
}

// Events implements broker.Queue.
func (q *queue) Events() <-chan broker.Event { return q.events }

// push adds a message and drops the oldest ones that are too many for it.
func (q *queue) push(m *broker.Message) {
	d := &broker.Delivery{Message: *m}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if q.pending.len() == 0 && q.carrier == nil && q.credit() && q.offer(d) {
		return
	}
	q.pending.push(d, len(m.Body))
	for q.pending.messages > 1 && (q.pending.messages > q.broker.opts.QueueMaxLength || q.pending.bytes > q.broker.opts.QueueMaxBytes) {
		if q.dropped == 0 {
			q.since = time.Now()
		}
		q.dropped++
		q.pending.dropOldestMessage()
	}
	q.flush()
}

// tell adds an event that is no delivery. It is never dropped.
func (q *queue) tell(e broker.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.pending.push(e, 0)
	q.flush()
}

// credit reports whether the prefetch allows another delivery. The caller holds mu.
func (q *queue) credit() bool { return q.tag-q.acked < uint64(q.broker.opts.Prefetch) }

// offer sends an event if the channel has room. The caller holds mu.
func (q *queue) offer(e broker.Event) bool {
	d, isDelivery := e.(*broker.Delivery)
	if isDelivery {
		d.Tag = q.tag + 1
	}
	select {
	case q.events <- e:
		if isDelivery {
			q.tag++
		}
		return true
	default:
		return false
	}
}

// flush sends what may go. The caller holds mu.
func (q *queue) flush() {
	if q.carrier != nil || q.closed {
		return
	}
	for {
		e := q.head()
		if e == nil {
			return
		}
		if !q.offer(e) {
			q.carrier = make(chan struct{})
			go q.carry(q.carrier)
			return
		}
		q.takeHead(e)
	}
}

// head returns what is to be sent next, nil if nothing may. The caller holds mu.
func (q *queue) head() broker.Event {
	e := q.pending.head()
	if e == nil {
		return nil
	}
	if _, isDelivery := e.(*broker.Delivery); isDelivery && !q.credit() {
		return nil
	}
	if q.dropped > 0 {
		return &broker.Overflow{Missed: q.dropped, Since: q.since}
	}
	return e
}

// takeHead strikes off what head returned. The caller holds mu.
func (q *queue) takeHead(e broker.Event) {
	if _, isOverflow := e.(*broker.Overflow); isOverflow {
		q.dropped = 0
		return
	}
	q.pending.pop()
}

// carry sends in the place of flush until nothing more may go.
func (q *queue) carry(gone chan struct{}) {
	defer close(gone)
	for {
		q.mu.Lock()
		e := q.head()
		if e == nil || q.closed {
			q.carrier = nil
			q.mu.Unlock()
			return
		}
		q.takeHead(e)
		if d, isDelivery := e.(*broker.Delivery); isDelivery {
			q.tag++
			d.Tag = q.tag
		}
		q.mu.Unlock()
		select {
		case q.events <- e:
		case <-q.done:
		}
	}
}

// Ack implements broker.Queue.
func (q *queue) Ack(tag uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if tag = min(tag, q.tag); tag > q.acked {
		q.acked = tag
		if q.pending.len() > 0 {
			q.flush()
		}
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

// openLocked reports whether the queue is still the broker's. The caller holds
// the broker's mu.
func (q *queue) openLocked() bool {
	_, ok := q.broker.queues[q]
	return ok
}

// Close implements broker.Queue. It waits for nobody, so ctx does not matter.
func (q *queue) Close(context.Context) error {
	q.shut()
	return nil
}

// shut unbinds the queue, ends its events and forgets what is pending.
func (q *queue) shut() {
	q.broker.mu.Lock()
	delete(q.broker.queues, q)
	for _, e := range q.bounds {
		q.broker.unbind(e)
	}
	q.broker.mu.Unlock()

	q.mu.Lock()
	already, carrier := q.closed, q.carrier
	q.closed = true
	q.pending = fifo{}
	q.mu.Unlock()
	if already {
		<-q.gone
		return
	}
	close(q.done)
	if carrier != nil {
		<-carrier
	}
	close(q.events) // Everybody else who sends holds mu and has seen closed.
	close(q.gone)
}
