package brokertest

import (
	"context"
	"strconv"

	"github.com/warren-gateway/warren/broker"
)

func bindCases() []testCase {
	return []testCase{
		{name: "Bind/WhatIsPublishedAfterItIsDelivered", run: bindDelivers, scripted: true},
		{name: "Bind/ExistingBindingIsFine", run: bindExisting, scripted: true},
		{name: "Bind/FailureUndoesWhatItMadeItselfAndNoMore", run: bindUndoes},
		{name: "Bind/ContextThatHasEndedChangesNothing", run: bindCanceled, scripted: true},
		{name: "Bind/AfterCloseIsRefused", run: bindAfterClose, scripted: true},
		{name: "Bind/ArgumentsMakeAnotherBinding", run: bindArguments, scripted: true},
		{name: "Unbind/WhatIsPublishedAfterItIsNotDelivered", run: unbindStops, scripted: true},
		{name: "Unbind/WhatIsNotThereIsFine", run: unbindAbsent, scripted: true},
		{name: "Unbind/ContextThatHasEndedChangesNothing", run: unbindCanceled, scripted: true},
		{name: "Unbind/ThenBindAgain", run: unbindBind, scripted: true},
		{name: "Bind/MessageOfSeveralBindingsComesOnce", run: bindOverlapping},
	}
}

func bindDelivers(s *suite) {
	e := s.exchange("topic")
	r := s.open(s.binding(e, "first"))
	for i := range 20 {
		key := strconv.Itoa(i)
		s.noError(r.Bind(s.ctx(), []broker.Binding{s.binding(e, key), s.binding(e, key+"x")}), "bind")
		s.publish(e, key+"x", key+"x")
		s.publish(e, "first", "first")
		s.publish(e, key, key)
		r.expect(key+"x", "first", key)
	}
	s.noError(r.Bind(s.ctx(), nil), "bind nothing")
}

func bindExisting(s *suite) {
	e := s.exchange("direct")
	a, b := s.binding(e, "a"), s.binding(e, "b")
	r := s.open(a)
	s.noError(r.Bind(s.ctx(), []broker.Binding{a}), "bind what is bound")
	s.noError(r.Bind(s.ctx(), []broker.Binding{b, a, b}), "bind some that are bound")
	s.publish(e, "a", "1")
	s.publish(e, "b", "2")
	s.publish(e, "a", "3")
	r.expect("1", "2", "3")
}

func bindUndoes(s *suite) {
	e := s.exchange("direct")
	old, fresh := s.binding(e, "old"), s.binding(e, "fresh")
	missing := s.binding(s.nowhere(), "k")
	r := s.open(old)
	for _, c := range []struct {
		bindings []broker.Binding
		index    int
	}{
		{[]broker.Binding{missing}, 0},
		{[]broker.Binding{old, fresh, missing}, 2},
		{[]broker.Binding{fresh, missing, old}, 1},
	} {
		s.wantCode(r.Bind(s.ctx(), c.bindings), c.index, broker.CodeExchangeNotFound)
		if s.publish(e, "fresh", "fresh") {
			s.Error("a binding is left of a call that failed")
		}
		s.publish(e, "old", "old")
		r.until("old") // What came through meanwhile may be delivered.
	}
	s.noError(r.Bind(s.ctx(), []broker.Binding{fresh}), "bind after failures")
	s.publish(e, "fresh", "1")
	s.publish(e, "old", "2")
	r.expect("1", "2")
}

func bindCanceled(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "old"))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	err := r.Bind(ctx, []broker.Binding{s.binding(e, "fresh")})
	s.wantCode(err, -1, broker.CodeBrokerTimeout, broker.CodeBrokerUnavailable)
	s.unrouted(e, "fresh")
	s.publish(e, "old", "old")
	r.until("old")
}

func bindAfterClose(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	s.noError(r.Close(s.ctx()), "close")
	s.wantCode(r.Bind(s.ctx(), []broker.Binding{s.binding(e, "l")}), -1, broker.CodeBrokerUnavailable)
	if s.publish(e, "l", "1") {
		s.Error("a closed queue was bound")
	}
}

func bindArguments(s *suite) {
	e := s.exchange("direct")
	plain := s.binding(e, "k")
	with := s.bindingWith(e, "k", broker.Table{"n": int64(1)})
	r := s.open(plain, with)
	s.noError(r.Unbind(s.ctx(), []broker.Binding{plain}), "unbind")
	s.publish(e, "k", "1")
	r.expect("1")
	s.noError(r.Unbind(s.ctx(), []broker.Binding{with}), "unbind")
	if s.publish(e, "k", "2") {
		s.Error("a message was routed though no binding is left")
	}
}

func unbindStops(s *suite) {
	e, f := s.exchange("direct"), s.exchange("direct")
	a, b, c := s.binding(e, "a"), s.binding(e, "b"), s.binding(f, "a")
	r := s.open(a, b, c)
	s.publish(e, "b", "1")
	s.noError(r.Unbind(s.ctx(), []broker.Binding{a, c, a}), "unbind")
	if s.publish(e, "a", "gone") || s.publish(f, "a", "gone") {
		s.Error("a message was routed by a binding that is gone")
	}
	s.publish(e, "b", "2")
	r.expect("1", "2")
	s.noError(r.Unbind(s.ctx(), nil), "unbind nothing")
}

func unbindAbsent(s *suite) {
	e := s.exchange("direct")
	a := s.binding(e, "a")
	r := s.open(a)
	s.noError(r.Unbind(s.ctx(), []broker.Binding{s.binding(e, "b")}), "unbind what was never bound")
	s.noError(r.Unbind(s.ctx(), []broker.Binding{s.binding(s.nowhere(), "b")}), "unbind from an exchange that is not there")
	s.publish(e, "a", "1")
	r.expect("1")
}

func unbindCanceled(s *suite) {
	e := s.exchange("direct")
	a := s.binding(e, "a")
	r := s.open(a)
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	s.wantCode(r.Unbind(ctx, []broker.Binding{a}), -1, broker.CodeBrokerTimeout, broker.CodeBrokerUnavailable)
	s.publish(e, "a", "1")
	r.expect("1")
}

func unbindBind(s *suite) {
	e := s.exchange("direct")
	a := s.binding(e, "a")
	r := s.open(a)
	for i := range 5 {
		s.noError(r.Unbind(s.ctx(), []broker.Binding{a}), "unbind")
		if s.publish(e, "a", "gone") {
			s.Error("a message was routed by a binding that is gone")
		}
		s.noError(r.Bind(s.ctx(), []broker.Binding{a}), "bind again")
		s.publish(e, "a", strconv.Itoa(i))
		r.expect(strconv.Itoa(i))
	}
}

func bindOverlapping(s *suite) {
	e := s.exchange("topic")
	r := s.open(s.binding(e, "#"), s.binding(e, "a.#"), s.binding(e, "*.b"), s.binding(e, "a.b"), s.binding(e, "#.b.#"))
	s.publish(e, "a.b", "1")
	s.publish(e, "a.b.b", "2")
	s.publish(e, "x", "3")
	r.expect("1", "2", "3")
}
