package brokertest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/warren-gateway/warren/broker"
)

func openCases() []testCase {
	return []testCase{
		{name: "Open/WhatIsPublishedAfterItIsDeliveredInOrder", run: openDelivers, scripted: true},
		{name: "Open/EveryBindingIsConfirmed", run: openConfirmsAll, scripted: true},
		{name: "Open/WithoutBindings", run: openWithoutBindings, scripted: true},
		{name: "Open/RepeatedBindingsAreOne", run: openRepeated, scripted: true},
		{name: "Open/MissingExchangeIsNamedByIndexAndNothingIsLeft", run: openMissing},
		{name: "Open/FailuresDisturbNobodyElse", run: openFailuresDisturbNobody},
		{name: "Open/ContextThatHasEnded", run: openCanceled, scripted: true},
		{name: "Open/AfterCloseIsRefused", run: openAfterClose, scripted: true},
		{name: "Open/ManyAtOnce", run: openConcurrently, scripted: true},
		{name: "Exchanges/ListsThoseInUseSorted", run: exchangesSorted},
		{name: "Exchanges/TypeIsTheListedOne", run: exchangeTypes},
		{name: "Health/IsReadyUntilClose", run: healthUntilClose},
	}
}

func openDelivers(s *suite) {
	e := s.exchange("topic")
	for round := range 10 {
		r := s.open(s.binding(e, "k"))
		var want [20]string
		for i := range want {
			id := fmt.Sprint(round, ".", i)
			want[i] = id
			if !s.publish(e, "k", id) {
				s.Fatalf("message %s was not routed", id)
			}
		}
		r.expect(want[:]...)
		s.noError(r.Close(s.ctx()), "close")
	}
}

func openConfirmsAll(s *suite) {
	topic, direct := s.exchange("topic"), s.exchange("direct")
	bindings := make([]broker.Binding, 64)
	for i := range bindings {
		bindings[i] = s.binding([]string{topic, direct}[i%2], strconv.Itoa(i))
	}
	r := s.open(bindings...)
	for i, b := range slices.Backward(bindings) {
		s.publish(b.Exchange(), b.RoutingKey(), strconv.Itoa(i))
		r.expect(strconv.Itoa(i))
	}
}

func openWithoutBindings(s *suite) {
	e := s.exchange("direct")
	r := s.open()
	if s.publish(e, "k", "early") {
		s.Error("a message was routed to a queue without bindings")
	}
	s.noError(r.Bind(s.ctx(), []broker.Binding{s.binding(e, "k")}), "bind")
	s.publish(e, "k", "late")
	r.expect("late")
}

func openRepeated(s *suite) {
	e := s.exchange("direct")
	b := s.binding(e, "k")
	r := s.open(b, b, s.binding(e, "k"))
	s.publish(e, "k", "1")
	s.publish(e, "k", "2")
	r.expect("1", "2")
	s.noError(r.Unbind(s.ctx(), []broker.Binding{b}), "unbind")
	if s.publish(e, "k", "3") {
		s.Error("a repeated binding outlived its unbind")
	}
}

func openMissing(s *suite) {
	e := s.exchange("topic")
	good := s.binding(e, "k")
	missing := s.binding(s.nowhere(), "k")
	for _, c := range []struct {
		bindings []broker.Binding
		index    int
	}{
		{[]broker.Binding{missing}, 0},
		{[]broker.Binding{good, s.binding(e, "l"), missing}, 2},
		{[]broker.Binding{good, missing, s.binding(e, "l"), s.binding(s.nowhere(), "k")}, 1},
		{[]broker.Binding{good, good, missing}, 2},
	} {
		q, err := s.src.Open(s.ctx(), newSpec(c.bindings...))
		s.wantCode(err, c.index, broker.CodeExchangeNotFound)
		if q != nil {
			s.Error("Open answered a queue and an error")
		}
	}
	s.unrouted(e, "k")
}

func openFailuresDisturbNobody(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	other := s.open(s.binding(e, "k"))
	for i := range 5 {
		s.publish(e, "k", strconv.Itoa(2*i))
		_, err := s.src.Open(s.ctx(), newSpec(s.binding(e, "k"), s.binding(s.nowhere(), "k")))
		s.wantCode(err, 1, broker.CodeExchangeNotFound)
		err = other.Bind(s.ctx(), []broker.Binding{s.binding(s.nowhere(), "k")})
		s.wantCode(err, 0, broker.CodeExchangeNotFound)
		s.publish(e, "k", strconv.Itoa(2*i+1))
	}
	for i := range 10 {
		r.expect(strconv.Itoa(i))
		other.expect(strconv.Itoa(i))
	}
}

func openCanceled(s *suite) {
	e := s.exchange("direct")
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.src.Open(ctx, newSpec(s.binding(e, "k")))
	s.wantCode(err, -1, broker.CodeBrokerTimeout, broker.CodeBrokerUnavailable)
	s.unrouted(e, "k")
	r := s.open(s.binding(e, "k"))
	s.publish(e, "k", "1")
	r.expect("1")
}

func openAfterClose(s *suite) {
	s.noError(s.src.Close(s.ctx()), "close the source")
	_, err := s.src.Open(s.ctx(), newSpec())
	s.wantCode(err, -1, broker.CodeBrokerUnavailable)
}

// openConcurrently opens, changes and closes queues from many goroutines while
// one queue, which nobody touches, has to see everything.
func openConcurrently(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 3 {
				s.wholeLife(s.binding(e, "other"), s.binding(e, "k"))
			}
		})
	}
	for i := range 100 {
		s.publish(e, "k", strconv.Itoa(i))
	}
	group.Wait()
	s.publish(e, "k", "last")
	if got := r.until("last"); len(got) != 100 {
		s.Errorf("%d messages came, want 100", len(got))
	}
}

// wholeLife opens a queue on one binding, moves it to another and closes it. Any
// goroutine may call it.
func (s *suite) wholeLife(from, to broker.Binding) {
	q, err := s.src.Open(s.ctx(), newSpec(from))
	if err != nil {
		s.Errorf("open: %v", err)
		return
	}
	r := s.start(q, ackTake)
	if err := q.Bind(s.ctx(), []broker.Binding{to}); err != nil {
		s.Errorf("bind: %v", err)
	}
	if err := q.Unbind(s.ctx(), []broker.Binding{from}); err != nil {
		s.Errorf("unbind: %v", err)
	}
	if err := r.Close(s.ctx()); err != nil {
		s.Errorf("close: %v", err)
	}
}

func exchangesSorted(s *suite) {
	names := []string{s.exchange("topic"), s.exchange("fanout"), s.exchange("direct")}
	for _, e := range names {
		s.open(s.binding(e, "k"))
	}
	list, err := s.src.Exchanges(s.ctx())
	s.noError(err, "list")
	listed := make([]string, 0, len(list))
	for _, x := range list {
		listed = append(listed, x.Name)
	}
	if !slices.IsSorted(listed) {
		s.Errorf("not sorted: %v", listed)
	}
	for _, e := range names {
		if !slices.Contains(listed, e) {
			s.Errorf("exchange %s is in use, but not listed", e)
		}
	}
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if _, err := s.src.Exchanges(ctx); err != nil {
		s.wantCode(err, -1, broker.CodeBrokerTimeout, broker.CodeBrokerUnavailable)
	}
}

func exchangeTypes(s *suite) {
	for _, typ := range []string{"topic", "direct", "fanout", "headers"} {
		e := s.exchange(typ)
		s.open(s.binding(e, "k"))
		list, err := s.src.Exchanges(s.ctx())
		s.noError(err, "list")
		got, known := s.src.ExchangeType(e)
		if known && got != typ || !known && got != "" {
			s.Errorf("type of a %s exchange: %q, known %v", typ, got, known)
		}
		for _, x := range list {
			if x.Name == e && x.Type != "" && x.Type != typ {
				s.Errorf("a %s exchange is listed as %q", typ, x.Type)
			}
		}
	}
	if typ, known := s.src.ExchangeType(s.nowhere()); known {
		s.Errorf("an exchange that was never there is known as %q", typ)
	}
}

func healthUntilClose(s *suite) {
	s.open() // A source may connect when it is first used.
	if h := s.src.Health(); !h.Ready {
		s.Errorf("not ready with a queue open: %+v", h)
	}
	s.noError(s.src.Close(s.ctx()), "close the source")
	if h := s.src.Health(); h.Ready {
		s.Errorf("ready after close: %+v", h)
	}
}
