package brokertest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// reader reads a queue without delay, as the core does, and keeps what came
// until the case asks for it.
type reader struct {
	broker.Queue
	s    *suite
	done chan struct{} // closed when the events have ended

	mu      sync.Mutex // guards what follows
	ack     bool       // acknowledge each delivery at once
	got     []broker.Event
	lastTag uint64
	changed chan struct{} // closed and replaced when got grows
}

func (s *suite) read(q broker.Queue, ack bool) *reader {
	r := &reader{Queue: q, s: s, ack: ack, done: make(chan struct{}), changed: make(chan struct{})}
	go r.run()
	s.Cleanup(func() {
		s.noError(q.Close(s.cleanupContext()), "close the queue")
		r.waitEnd()
	})
	return r
}

func (r *reader) run() {
	defer close(r.done)
	for e := range r.Events() {
		r.mu.Lock()
		if d, ok := e.(*broker.Delivery); ok {
			if d.Tag <= r.lastTag {
				r.s.Errorf("tag %d came after %d", d.Tag, r.lastTag)
			}
			r.lastTag = d.Tag
		}
		r.got = append(r.got, e)
		close(r.changed)
		r.changed = make(chan struct{})
		ack := r.ack
		r.mu.Unlock()
		if d, ok := e.(*broker.Delivery); ok && ack {
			r.Ack(d.Tag)
		}
	}
}

// waitEnd returns when the events have ended.
func (r *reader) waitEnd() {
	r.s.Helper()
	select {
	case <-r.done:
	case <-time.After(r.s.opts.Patience):
		r.s.Errorf("the events did not end")
	}
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
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-r.done:
			r.s.Fatalf("the events have ended")
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
