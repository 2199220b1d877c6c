package broker

import (
	"context"
	"strconv"
)

// Bind adds bindings, all or none; those that exist already are fine. When it
// returns, the broker has confirmed them and the marker is in the log. On an
// error it has undone what it made itself. Errors: CodeSharedSubscription,
// CodeLimitReached, CodeSubscriptionNotFound and those of Queue.Bind, with the
// index of the binding in the argument.
func (s *Subscription) Bind(ctx context.Context, bindings []Binding) error {
	return s.change(ctx, func(now []Binding) ([]Binding, error) {
		return append(now, bindings...), nil
	}, bindings)
}

// Unbind removes bindings; those that do not exist are fine.
func (s *Subscription) Unbind(ctx context.Context, bindings []Binding) error {
	gone := idsOf(bindings)
	return s.change(ctx, func(now []Binding) ([]Binding, error) {
		return without(now, gone), nil
	}, nil)
}

// UnbindID removes the binding with the id. Errors: CodeBindingNotFound and
// those of Bind.
func (s *Subscription) UnbindID(ctx context.Context, id string) error {
	return s.change(ctx, func(now []Binding) ([]Binding, error) {
		rest := without(now, map[string]int{id: 0})
		if len(rest) == len(now) {
			return nil, Errorf(CodeBindingNotFound, "the subscription has no binding with this id")
		}
		return rest, nil
	}, nil)
}

// Replace makes the bindings exactly these; new ones are bound before old ones
// are unbound. Errors as Bind's.
func (s *Subscription) Replace(ctx context.Context, bindings []Binding) error {
	return s.change(ctx, func([]Binding) ([]Binding, error) {
		return bindings, nil
	}, bindings)
}

// change runs one request that changes the bindings, alone: edit computes what
// they shall be from what they are, requested is what error indexes refer to.
func (s *Subscription) change(ctx context.Context, edit func(now []Binding) ([]Binding, error), requested []Binding) error {
	if s.Shared() {
		return Errorf(CodeSharedSubscription, "a shared subscription has the bindings of its URL; make one of your own to change them")
	}
	ctx, cancel := s.broker.interruptible(ctx)
	defer cancel()
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
	case <-ctx.Done():
		return s.broker.orInterrupted(Errorf(CodeBrokerTimeout, "an earlier change of this subscription is still under way").WithCause(ctx.Err()))
	}
	now := s.Bindings()
	want, err := edit(append([]Binding(nil), now...))
	if err != nil {
		return err
	}
	want = dedupe(want)
	added, removed := without(want, idsOf(now)), without(now, idsOf(want))
	if len(added)+len(removed) == 0 {
		return s.alive()
	}
	if limit := s.broker.limits.MaxBindings; len(want) > limit && len(want) > len(now) {
		e := Errorf(CodeLimitReached, "a subscription has at most "+strconv.Itoa(limit)+" bindings")
		e.Limit = "max-bindings"
		return e
	}
	if argumentBytes(want) > maxArguments && argumentBytes(want) > argumentBytes(now) {
		return errArguments()
	}
	if err := s.rebind(ctx, now, added, removed, requested); err != nil {
		if ended := s.alive(); ended != nil { // which is why it failed
			return ended
		}
		return s.broker.orInterrupted(err)
	}
	s.remember(removed)
	return s.settle(want)
}

// maxArguments bounds the arguments of all bindings of a subscription, as JSON:
// every ready frame and every marker has them.
const maxArguments = 64 << 10

func errArguments() *Error {
	return Errorf(CodeInvalidRequest, "the arguments of a subscription's bindings are larger than 64 KiB together").WithField("bindings")
}

func argumentBytes(bindings []Binding) int {
	n := 0
	for _, b := range bindings {
		n += len(b.argsJSON)
	}
	return n
}

// rebind binds before it unbinds, and takes the former back when the latter fails.
func (s *Subscription) rebind(ctx context.Context, now, added, removed, requested []Binding) error {
	if err := s.alive(); err != nil {
		return err
	}
	if len(added) > 0 {
		if err := s.queue.Bind(ctx, added); err != nil {
			s.remember(tried(err, added))
			return requestIndex(err, added, requested)
		}
	}
	if len(removed) == 0 {
		return nil
	}
	err := s.queue.Unbind(ctx, removed)
	if err != nil && len(added) > 0 {
		if s.queue.Unbind(context.WithoutCancel(ctx), added) == nil {
			s.remember(added)
		} else {
			// The connection is most likely gone, and recovery binds what the queue
			// knows. That is too much rather than too little, but nobody's secret:
			// who asks for the bindings sees them, and can remove them.
			_ = s.settle(append(now, added...))
		}
	}
	return err
}

// tried returns those of the bindings that may have been in force for a moment,
// before an error undid them: all but the one that the broker refused.
func tried(err error, bindings []Binding) []Binding {
	refused := AsError(err).Binding
	if refused < 0 || refused >= len(bindings) {
		return bindings
	}
	return append(append([]Binding(nil), bindings[:refused]...), bindings[refused+1:]...)
}

// settle makes the new bindings known and puts the marker into the log.
func (s *Subscription) settle(want []Binding) error {
	s.mu.Lock()
	s.bindings = want
	s.listJSON = nil
	s.mu.Unlock()
	s.pump.mark()
	return s.alive()
}

func (s *Subscription) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended == nil:
		return nil
	case s.ended.Reason == EndShutdown:
		return errShuttingDown()
	}
	return Errorf(CodeSubscriptionNotFound, "the subscription has ended")
}

// requestIndex turns an index into added into one into what was requested.
func requestIndex(err error, added, requested []Binding) error {
	e := AsError(err)
	if e.Binding < 0 || e.Binding >= len(added) {
		return e
	}
	id := added[e.Binding].id
	for i, b := range requested {
		if b.id == id {
			return e.WithBinding(i)
		}
	}
	return e
}

func idsOf(bindings []Binding) map[string]int {
	ids := make(map[string]int, len(bindings))
	for i, b := range bindings {
		ids[b.id] = i
	}
	return ids
}

// without returns the bindings whose ids are not in the set, in order.
func without(bindings []Binding, ids map[string]int) []Binding {
	var rest []Binding
	for _, b := range bindings {
		if _, in := ids[b.id]; !in {
			rest = append(rest, b)
		}
	}
	return rest
}

// dedupe drops repeats and keeps the order.
func dedupe(bindings []Binding) []Binding {
	seen := make(map[string]struct{}, len(bindings))
	out := make([]Binding, 0, len(bindings))
	for _, b := range bindings {
		if _, in := seen[b.id]; !in {
			seen[b.id] = struct{}{}
			out = append(out, b)
		}
	}
	return out
}
