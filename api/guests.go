package api

import (
	"maps"
	"slices"
	"sync"

	"github.com/warren-gateway/warren/broker"
)

// guests are the open streams on owned subscriptions in token mode: their tokens
// must go on granting what the subscription's owner binds.
type guests struct {
	mu    sync.Mutex // guards bySub
	bySub map[*broker.Subscription]*audience
}

// audience are the streams of one subscription, and the changes of its bindings
// that are under way. Looking at grants takes a while where there are many
// streams, so each has a mutex of its own.
type audience struct {
	members int // streams and changes; guests.mu guards it

	mu      sync.Mutex // guards all below, also what changes point to
	streams map[*session]struct{}
	changes map[*pendingChange]struct{}
}

// join returns the subscription's audience, and makes it, for somebody who leaves it again.
func (g *guests) join(sub *broker.Subscription) *audience {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bySub == nil {
		g.bySub = map[*broker.Subscription]*audience{}
	}
	if g.bySub[sub] == nil {
		g.bySub[sub] = &audience{streams: map[*session]struct{}{}, changes: map[*pendingChange]struct{}{}}
	}
	g.bySub[sub].members++
	return g.bySub[sub]
}

func (g *guests) leave(sub *broker.Subscription) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bySub[sub].members--; g.bySub[sub].members == 0 {
		delete(g.bySub, sub)
	}
}

// add makes a stream known.
func (g *guests) add(s *session) {
	sub := s.attachment.Subscription()
	if sub.Shared() {
		return // its bindings never change
	}
	s.audience = g.join(sub)
	s.audience.look(s)
}

func (g *guests) remove(s *session) {
	if s.audience == nil {
		return
	}
	s.audience.mu.Lock()
	delete(s.audience.streams, s)
	s.audience.mu.Unlock()
	g.leave(s.attachment.Subscription())
}

// look keeps from a stream that is new, or has a new token, what is being bound
// if it may not read that.
func (aud *audience) look(s *session) {
	if aud == nil {
		return
	}
	aud.mu.Lock()
	defer aud.mu.Unlock()
	aud.streams[s] = struct{}{}
	for change := range aud.changes {
		change.hold(s)
	}
}

// pendingChange keeps events from the streams that may not read what is being
// bound, those that attach meanwhile too.
type pendingChange struct {
	api      *API
	sub      *broker.Subscription
	audience *audience
	bindings []broker.Binding
	held     []*session
	listens  verdicts // who may listen to the bindings
}

// verdicts remembers what was decided of callers, because what is so for a caller is so for all
// with the same grants: a thousand streams of one token cost little more than one. It lives no
// longer than one change.
type verdicts []verdict

type verdict struct {
	of      caller
	allowed bool
}

// verdictsKept is how many are remembered: looking for one must cost less than deciding.
const verdictsKept = 16

// ask returns what is remembered of the caller, or else what decide says.
func (v *verdicts) ask(c caller, decide func() bool) bool {
	for _, known := range *v {
		if known.of.key == c.key && known.of.tokenless == c.tokenless && slices.Equal(known.of.Grants, c.Grants) {
			return known.allowed
		}
	}
	allowed := decide()
	if len(*v) < verdictsKept {
		*v = append(*v, verdict{c, allowed})
	}
	return allowed
}

// begin begins a change; end is called when it is over.
func (g *guests) begin(a *API, sub *broker.Subscription, bindings []broker.Binding) *pendingChange {
	change := &pendingChange{api: a, sub: sub, audience: g.join(sub), bindings: bindings}
	change.audience.mu.Lock()
	defer change.audience.mu.Unlock()
	change.audience.changes[change] = struct{}{}
	for s := range change.audience.streams {
		change.hold(s)
	}
	return change
}

// hold holds the stream, once, if its token does not grant the bindings. The
// audience's mutex is held.
func (c *pendingChange) hold(s *session) {
	now := s.current()
	if c.listens.ask(now, func() bool { return c.api.mayListen(now, c.sub, c.bindings) == nil }) || slices.Contains(c.held, s) {
		return
	}
	c.held = append(c.held, s)
	s.attachment.Hold()
}

// end ends the streams that may not read what the subscription has by now, or
// will, and lets the others go on.
func (c *pendingChange) end() {
	c.audience.mu.Lock()
	streams := slices.Collect(maps.Keys(c.audience.streams))
	c.audience.mu.Unlock()
	var reads verdicts
	for _, s := range streams {
		now := s.current()
		if !reads.ask(now, func() bool { return c.api.mayRead(now, c.sub) == nil }) {
			s.attachment.End(broker.EndForbidden)
		}
	}
	c.audience.mu.Lock()
	delete(c.audience.changes, c)
	held := c.held
	c.audience.mu.Unlock()
	for _, s := range held {
		s.attachment.Release()
	}
	c.api.guests.leave(c.sub)
}
