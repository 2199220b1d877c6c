package brokertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// ackMode says when a reader acknowledges.
type ackMode int

const (
	ackNever ackMode = iota
	ackTake          // each delivery at once, from within Take
	ackFlush         // what came since the last Flush; until then it is kept back
)

// reader is the sink of a queue. As the core does it takes what comes without
// delay, and keeps it until the case asks for it.
type reader struct {
	broker.Queue
	s    *suite
	busy atomic.Bool // Take or Flush is running

	mu      sync.Mutex // guards what follows
	mode    ackMode
	got     []broker.Event
	back    []broker.Event // kept back until Flush
	lastTag uint64
	ended   bool          // nothing may come any more
	changed chan struct{} // closed and replaced when got grows
}

// read starts a queue and closes it at the end of the case.
func (s *suite) read(q broker.Queue, mode ackMode) *reader {
	r := s.start(q, mode)
	s.Cleanup(func() { s.noError(r.Close(s.cleanupContext()), "close the queue") })
	return r
}

// start starts a queue, which the caller closes.
func (s *suite) start(q broker.Queue, mode ackMode) *reader {
	r := &reader{Queue: q, s: s, mode: mode, changed: make(chan struct{})}
	q.Start(r)
	return r
}

// enter checks that the source calls the sink only when it may.
func (r *reader) enter(call string) (leave func()) {
	if !r.busy.CompareAndSwap(false, true) {
		r.s.Errorf("%s while the sink is busy", call)
	}
	r.mu.Lock()
	ended := r.ended
	r.mu.Unlock()
	if ended {
		r.s.Errorf("%s after the end", call)
	}
	return func() { r.busy.Store(false) }
}

// Take implements broker.Sink.
func (r *reader) Take(e broker.Event) {
	defer r.enter(describe(e))()
	e = keep(e)
	r.mu.Lock()
	d, isDelivery := e.(*broker.Delivery)
	if isDelivery {
		if d.Tag <= r.lastTag {
			r.s.Errorf("tag %d came after %d", d.Tag, r.lastTag)
		}
		r.lastTag = d.Tag
	}
	mode := r.mode
	if mode == ackFlush {
		r.back = append(r.back, e)
	} else {
		r.add(e)
	}
	r.mu.Unlock()
	if isDelivery && mode == ackTake {
		r.Ack(d.Tag)
	}
}

// Flush implements broker.Sink.
func (r *reader) Flush() {
	defer r.enter("Flush")()
	r.mu.Lock()
	r.add(r.back...)
	r.back = nil
	mode, tag := r.mode, r.lastTag
	r.mu.Unlock()
	if mode == ackFlush {
		r.Ack(tag)
	}
}

// add has the case see events. The caller holds mu.
func (r *reader) add(events ...broker.Event) {
	r.got = append(r.got, events...)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Close closes the queue. From then on nothing may come.
func (r *reader) Close(ctx context.Context) error {
	err := r.Queue.Close(ctx)
	r.end()
	return err
}

// end says that the queue is closed, by itself or with its source.
func (r *reader) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// next returns the next event.
func (r *reader) next() broker.Event {
	r.s.Helper()
	deadline := time.NewTimer(r.s.opts.Patience)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		if len(r.got) > 0 {
			e := r.got[0]
			r.got = r.got[1:]
			r.mu.Unlock()
			return e
		}
		changed, ended := r.changed, r.ended
		r.mu.Unlock()
		if ended {
			r.s.Fatalf("the queue is closed and no event is left")
		}
		select {
		case <-changed:
		case <-deadline.C:
			r.s.Fatalf("no event came within %v", r.s.opts.Patience)
		}
	}
}

// delivery returns the next event, which has to be a delivery.
func (r *reader) delivery() *broker.Delivery {
	r.s.Helper()
	return as[*broker.Delivery](r)
}

// as returns the next event, which has to be of one type.
func as[E broker.Event](r *reader) E {
	r.s.Helper()
	e := r.next()
	want, ok := e.(E)
	if !ok {
		r.s.Fatalf("got %s, want a %T", describe(e), want)
	}
	return want
}

// expect checks that deliveries of these ids come next, and nothing between.
func (r *reader) expect(ids ...string) {
	r.s.Helper()
	for _, id := range ids {
		if d := r.delivery(); d.Properties.MessageID != id {
			r.s.Fatalf("got %s, want %q", describe(d), id)
		}
	}
}

// until returns the ids of the deliveries that come before the one of an id.
func (r *reader) until(id string) []string {
	r.s.Helper()
	var ids []string
	for {
		d := r.delivery()
		if d.Properties.MessageID == id {
			return ids
		}
		ids = append(ids, d.Properties.MessageID)
	}
}

// expectIDs checks that events naming exactly these bindings come next, in one
// event or several.
func expectIDs[E broker.Event](r *reader, ids func(E) []string, want ...broker.Binding) {
	r.s.Helper()
	left := make(map[string]bool)
	for _, b := range want {
		left[b.ID()] = true
	}
	for len(left) > 0 {
		named := ids(as[E](r))
		if len(named) == 0 {
			r.s.Fatalf("an event names no binding")
		}
		for _, id := range named {
			if !left[id] {
				r.s.Fatalf("binding %s is named, but not one of %v, or twice", id, want)
			}
			delete(left, id)
		}
	}
}

func (r *reader) expectLost(want ...broker.Binding) {
	r.s.Helper()
	expectIDs(r, func(e *broker.BindingsLost) []string { return slices.Clone(e.IDs) }, want...)
}

func (r *reader) expectBack(want ...broker.Binding) {
	r.s.Helper()
	expectIDs(r, func(e *broker.BindingsBack) []string { return slices.Clone(e.IDs) }, want...)
}

func describe(e broker.Event) string {
	if d, ok := e.(*broker.Delivery); ok {
		return fmt.Sprintf("delivery %q (exchange %q, key %q)", d.Properties.MessageID, d.Exchange, d.RoutingKey)
	}
	return fmt.Sprintf("%T%+v", e, e)
}
