package brokertest

import (
	"strconv"

	"github.com/warren-gateway/warren/broker"
)

func lossCases() []testCase {
	return []testCase{
		{name: "BindingsLost/ExchangeDeletedAndDeclaredAgain", run: lossAndReturn},
		{name: "BindingsLost/NamesAllBindingsOfAllQueues", run: lossOfAll},
		{name: "BindingsLost/CostsNothingThatWasPublishedBefore", run: lossAfterMessages},
		{name: "BindingsLost/MissingExchangeIsStillNotFound", run: lossNotFound},
		{name: "BindingsLost/UnboundBindingDoesNotComeBack", run: lossUnbound},
		{name: "BindingsLost/CloseWhileMissing", run: lossClose},
	}
}

func lossAndReturn(s *suite) {
	e, other := s.exchange("topic"), s.exchange("topic")
	b := s.binding(e, "k")
	r := s.open(b, s.binding(other, "k"))
	for round := range 3 {
		n := strconv.Itoa(round)
		s.publish(e, "k", "before"+n)
		r.expect("before" + n)
		s.delete(e)
		r.expectLost(b)
		s.publish(other, "k", "meanwhile"+n)
		r.expect("meanwhile" + n)
		s.declare(e, "topic")
		r.expectBack(b)
		s.publish(e, "k", "after"+n)
		r.expect("after" + n)
	}
}

func lossOfAll(s *suite) {
	e, other := s.exchange("direct"), s.exchange("direct")
	one := []broker.Binding{s.binding(e, "a"), s.binding(e, "b"), s.binding(other, "a")}
	r := s.open(one...)
	two := s.open(s.binding(e, "a"))
	third := s.open(s.binding(other, "a"))
	added := s.binding(e, "c")
	s.noError(r.Bind(s.ctx(), []broker.Binding{added}), "bind")
	s.delete(e)
	r.expectLost(one[0], one[1], added)
	two.expectLost(one[0])
	s.declare(e, "direct")
	r.expectBack(one[0], one[1], added)
	two.expectBack(one[0])
	s.publish(other, "a", "end")
	third.expect("end") // Nothing was said of it.
	for _, key := range []string{"a", "b", "c"} {
		s.publish(e, key, key)
	}
	r.expect("end", "a", "b", "c")
	two.expect("a")
}

// lossAfterMessages leaves open where among the messages the loss is told:
// RabbitMQ tells it by another way than that of the messages.
func lossAfterMessages(s *suite) {
	e := s.exchange("fanout")
	b := s.binding(e, "")
	r := s.open(b)
	for i := range 50 {
		s.publish(e, "", strconv.Itoa(i))
	}
	s.delete(e)
	next, lost := 0, false
	for next < 50 || !lost {
		switch ev := r.next().(type) {
		case *broker.Delivery:
			if ev.Properties.MessageID != strconv.Itoa(next) {
				s.Fatalf("got %s, want %d", describe(ev), next)
			}
			next++
		case *broker.BindingsLost:
			if lost || len(ev.IDs) != 1 || ev.IDs[0] != b.ID() {
				s.Fatalf("got %s, want one loss of %s", describe(ev), b.ID())
			}
			lost = true
		default:
			s.Fatalf("unexpected %s", describe(ev))
		}
	}
}

func lossNotFound(s *suite) {
	e, other := s.exchange("direct"), s.exchange("direct")
	b := s.binding(e, "k")
	r := s.open(b)
	s.delete(e)
	r.expectLost(b)
	_, err := s.src.Open(s.ctx(), newSpec(s.binding(other, "k"), b))
	s.wantCode(err, 1, broker.CodeExchangeNotFound)
	s.wantCode(r.Bind(s.ctx(), []broker.Binding{s.binding(other, "l"), s.binding(e, "l")}), 1, broker.CodeExchangeNotFound)
	s.noError(r.Bind(s.ctx(), []broker.Binding{s.binding(other, "k")}), "bind elsewhere")
	s.publish(other, "k", "1")
	r.expect("1")
	s.declare(e, "direct")
	r.expectBack(b)
	if s.publish(e, "l", "never bound") {
		s.Error("a binding of a call that failed is there")
	}
}

func lossUnbound(s *suite) {
	e, other := s.exchange("direct"), s.exchange("direct")
	a, b := s.binding(e, "a"), s.binding(e, "b")
	r := s.open(a, b, s.binding(other, "k"))
	s.delete(e)
	r.expectLost(a, b)
	s.noError(r.Unbind(s.ctx(), []broker.Binding{a}), "unbind from an exchange that is gone")
	s.declare(e, "direct")
	r.expectBack(b)
	if s.publish(e, "a", "gone") {
		s.Error("a binding came back that was unbound while it was missing")
	}
	s.publish(e, "b", "1")
	r.expect("1")
}

func lossClose(s *suite) {
	e := s.exchange("direct")
	b := s.binding(e, "k")
	r := s.open(b)
	s.delete(e)
	r.expectLost(b)
	s.noError(r.Close(s.ctx()), "close")
	s.declare(e, "direct")
	if s.publish(e, "k", "1") {
		s.Error("a closed queue was bound again")
	}
}
