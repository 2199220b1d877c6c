package brokertest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// FakeQueue is a queue of a Fake. Methods that send an event return when the
// sink has taken it and was told that there is no more; before Start they leave
// it for that. They report false if the queue is closed. A delivery is made
// useless after Take, so that a sink which keeps it is found out. All methods
// are safe for concurrent use.
type FakeQueue struct {
	fake   *Fake
	stream string

	turn sync.Mutex // held while the sink is called; taken before mu
	sink broker.Sink
	kept []broker.Event // what came before Start

	mu         sync.Mutex // guards what follows
	bindings   []broker.Binding
	recovering bool
	tag        uint64
	acked      uint64
	closed     bool
}

var _ broker.Queue = (*FakeQueue)(nil)

func newFakeQueue(f *Fake, spec broker.QueueSpec) *FakeQueue {
	q := &FakeQueue{fake: f, stream: spec.Stream}
	q.add(spec.Bindings)
	return q
}

// Stream returns the stream id that the queue was opened with.
func (q *FakeQueue) Stream() string { return q.stream }

// Bindings returns the bindings that the queue has now, in the order they were made.
func (q *FakeQueue) Bindings() []broker.Binding {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.bindings)
}

// Acked returns the highest tag that was acknowledged, 0 for none.
func (q *FakeQueue) Acked() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.acked
}

// Closed reports whether the queue was closed, by itself or with its source.
func (q *FakeQueue) Closed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// Deliver sends messages, each with the next tag.
func (q *FakeQueue) Deliver(messages ...broker.Message) bool {
	for _, m := range messages {
		if !q.send(func() broker.Event {
			q.tag++
			return &broker.Delivery{Message: m, Tag: q.tag}
		}) {
			return false
		}
	}
	return true
}

// Overflow says that missed messages (-1: unknown) were dropped after since;
// the zero time is now.
func (q *FakeQueue) Overflow(missed int64, since time.Time) bool {
	return q.Send(&broker.Overflow{Missed: missed, Since: sinceNow(since)})
}

// Recovering says that the queue is lost. Until Recovered, Bind and Unbind
// answer CodeBrokerUnavailable.
func (q *FakeQueue) Recovering() bool {
	return q.send(func() broker.Event {
		q.recovering = true
		return &broker.Recovering{}
	})
}

// Recovered says that the queue is back, without the bindings named by id.
func (q *FakeQueue) Recovered(reason broker.GapReason, missing ...string) bool {
	return q.send(func() broker.Event {
		q.recovering = false
		return &broker.Recovered{Reason: reason, Missing: missing}
	})
}

// LoseBindings says that exchanges were deleted under these bindings.
func (q *FakeQueue) LoseBindings(ids ...string) bool {
	return q.Send(&broker.BindingsLost{IDs: ids})
}

// RestoreBindings says that these bindings are bound again.
func (q *FakeQueue) RestoreBindings(ids ...string) bool {
	return q.Send(&broker.BindingsBack{IDs: ids})
}

// Send sends an event as it is.
func (q *FakeQueue) Send(e broker.Event) bool {
	return q.send(func() broker.Event { return e })
}

// send makes an event when its turn has come and sends it.
func (q *FakeQueue) send(mk func() broker.Event) bool {
	q.turn.Lock()
	defer q.turn.Unlock()
	q.mu.Lock()
	closed := q.closed
	var e broker.Event
	if !closed {
		e = keep(mk()) // the body is the caller's
	}
	q.mu.Unlock()
	switch {
	case closed:
		return false
	case q.sink == nil:
		q.kept = append(q.kept, e)
	default:
		q.give(e)
		q.sink.Flush()
	}
	return true
}

// give has the sink take an event. The caller has the turn.
func (q *FakeQueue) give(e broker.Event) {
	q.sink.Take(e)
	if d, ok := e.(*broker.Delivery); ok {
		for i := range d.Body {
			d.Body[i] = '!'
		}
		*d = broker.Delivery{}
	}
}

// Start implements broker.Queue.
func (q *FakeQueue) Start(sink broker.Sink) {
	q.turn.Lock()
	defer q.turn.Unlock()
	q.sink = sink
	kept := q.kept
	q.kept = nil
	if len(kept) == 0 || q.Closed() {
		return
	}
	for _, e := range kept {
		q.give(e)
	}
	sink.Flush()
}

// Ack implements broker.Queue.
func (q *FakeQueue) Ack(tag uint64) {
	q.mu.Lock()
	q.acked = max(q.acked, tag)
	q.mu.Unlock()
	q.fake.note()
}

// Bind implements broker.Queue.
func (q *FakeQueue) Bind(ctx context.Context, bindings []broker.Binding) error {
	if err := q.change(ctx, OpBind, bindings); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(bindings)
	return nil
}

// Unbind implements broker.Queue.
func (q *FakeQueue) Unbind(ctx context.Context, bindings []broker.Binding) error {
	if err := q.change(ctx, OpUnbind, bindings); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range bindings {
		q.bindings = slices.DeleteFunc(q.bindings, func(have broker.Binding) bool { return have.ID() == b.ID() })
	}
	return nil
}

// change lets a call that changes bindings through, or not.
func (q *FakeQueue) change(ctx context.Context, op Op, bindings []broker.Binding) error {
	if err := q.fake.enter(ctx, Call{Op: op, Stream: q.stream, Bindings: slices.Clone(bindings)}); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.recovering {
		return errClosed()
	}
	return nil
}

// add appends the bindings that are not there yet. The caller holds mu, or
// nobody else knows the queue yet.
func (q *FakeQueue) add(bindings []broker.Binding) {
	for _, b := range bindings {
		if !slices.ContainsFunc(q.bindings, func(have broker.Binding) bool { return have.ID() == b.ID() }) {
			q.bindings = append(q.bindings, b)
		}
	}
}

// Close implements broker.Queue. After a close that is held, or fails, the sink
// gets nothing all the same.
func (q *FakeQueue) Close(ctx context.Context) error {
	err := q.fake.enter(ctx, Call{Op: OpClose, Stream: q.stream})
	q.shut()
	return err
}

// shut returns when nobody calls the sink any more.
func (q *FakeQueue) shut() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.turn.Lock()   // Who has the turn now may not have seen closed.
	q.turn.Unlock() //nolint:staticcheck // It is there to be waited for.
	q.fake.note()
}
