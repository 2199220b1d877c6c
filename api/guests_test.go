package api_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// guestWorld is a gateway with tokens on which alice owns a subscription to
// what has the key eu, and others come to read along.
type guestWorld struct {
	*gateway

	issuer     *issuer
	source     *brokertest.Fake
	alice, bob []string
	sub        subscription
}

func newGuestWorld(t *testing.T, change ...func(*setup)) *guestWorld {
	t.Helper()
	w := &guestWorld{issuer: newIssuer(t), source: brokertest.NewFake()}
	w.source.SetExchanges(broker.Exchange{Name: "orders", Type: "topic"})
	w.gateway = newGateway(t, append(change, w.issuer.use, func(s *setup) { s.source = w.source })...)
	w.alice = bearer(w.issuer.token("alice", time.Hour, "orders=#"))
	w.bob = bearer(w.issuer.token("bob", time.Hour, "orders=eu"))
	w.sub = w.create(`{"bindings":[{"exchange":"orders","routing_key":"eu"}]}`, w.alice...)
	return w
}

// witness is a stream that may read all: what it has got, others would have, too.
func (w *guestWorld) witness() *eventStream {
	w.t.Helper()
	s := w.stream(w.sub.Links["sse"], bearer(w.issuer.token("carol", time.Hour, "orders=#"))...)
	s.expect("ready")
	return s
}

// deliverUS delivers what bob may not read, and returns when the witness has it,
// and so much more that all others have had their turns.
func (w *guestWorld) deliverUS(witness *eventStream) {
	w.t.Helper()
	for range 20 {
		w.deliver("us")
		witness.expect("message")
	}
}

func (w *guestWorld) deliver(key string) {
	w.t.Helper()
	if !w.source.Queues()[0].Deliver(broker.Message{Exchange: "orders", RoutingKey: key, Body: []byte("1")}) {
		w.t.Fatal("the queue is closed")
	}
}

const bindUS = `{"bindings":[{"exchange":"orders","routing_key":"us"}]}`

// bindMeanwhile has alice bind, and waits until the broker is asked.
func (w *guestWorld) bindMeanwhile(body string) (done <-chan answer) {
	w.t.Helper()
	answers := make(chan answer, 1)
	before := len(w.source.Calls(brokertest.OpBind))
	go func() { answers <- w.do("POST", w.sub.Links["self"]+"/bindings", body, w.alice...) }()
	w.eventually("the broker is asked", func() bool { return len(w.source.Calls(brokertest.OpBind)) > before })
	return answers
}

func TestFormerBindingIsReadByNobodyElse(t *testing.T) {
	w := newGuestWorld(t)
	w.do("POST", w.sub.Links["self"]+"/bindings", bindUS, w.alice...).subscription(t, 200)
	w.deliver("us")
	w.do("PUT", w.sub.Links["self"]+"/bindings", `{"bindings":[{"exchange":"orders","routing_key":"eu"}]}`, w.alice...).subscription(t, 200)
	refusal{method: "GET", path: w.sub.Links["sse"] + "?from=earliest", header: w.bob, status: 403, code: "forbidden_binding"}.check(t, w.gateway)
	w.stream(w.sub.Links["sse"], bearer(w.issuer.token("carol", time.Hour, "orders=#"))...).expect("ready")
	// Alice was granted what came, whatever her token says by now.
	own := w.stream(w.sub.Links["sse"]+"?from=earliest", bearer(w.issuer.token("alice", time.Hour, "orders=eu"))...)
	own.expect("ready")
	own.expect("bindings")
	own.expect("message")
}

func TestOnlyTheOwnerReadsWhatNobodyRemembersTheBindingsOf(t *testing.T) {
	w := newGuestWorld(t, func(s *setup) { s.limits.FormerBindings = 1 })
	carol := bearer(w.issuer.token("carol", time.Hour, "orders=#"))
	for _, key := range []string{"us", "uk"} {
		w.stream(w.sub.Links["sse"], carol...).expect("ready")
		body := `{"bindings":[{"exchange":"orders","routing_key":"` + key + `"}]}`
		w.do("PUT", w.sub.Links["self"]+"/bindings", body, w.alice...).subscription(t, 200)
	}
	refusal{method: "GET", path: w.sub.Links["sse"], header: carol, status: 403, code: "forbidden_binding"}.check(t, w.gateway)
	w.stream(w.sub.Links["sse"], w.alice...).expect("ready")
}

func TestGuestReadsNothingOfAChangeUnderWay(t *testing.T) {
	for _, when := range []string{"comes before", "comes during", "renews during"} {
		t.Run(when, func(t *testing.T) {
			w := newGuestWorld(t)
			witness := w.witness()
			token := w.issuer.token("bob", time.Hour, "orders=eu")
			first := token
			if when == "renews during" {
				first = w.issuer.token("bob", time.Hour, "orders=#")
			}
			var guest *socket
			come := func() {
				guest = w.socket(w.sub.Links["ws"], bearer(first)...)
				guest.expect("ready")
			}
			if when != "comes during" {
				come()
			}
			release := w.source.Hold(brokertest.OpBind)
			defer release()
			done := w.bindMeanwhile(bindUS)
			switch when {
			case "comes during":
				come()
			case "renews during":
				guest.send(`{"type":"auth","token":"` + token + `"}`)
				guest.expect("ok")
			}
			w.deliverUS(witness)
			release()
			guest.expectBye(4403, "forbidden_binding")
			if a := <-done; a.status != 200 {
				t.Errorf("the change is answered with %d %s", a.status, a.body)
			}
		})
	}
}

func TestChangeThatFailsHalfwayExpelsWhoMightHaveReadOfIt(t *testing.T) {
	w := newGuestWorld(t)
	guest := w.stream(w.sub.Links["sse"], w.bob...)
	guest.expect("ready")
	w.source.Fail(brokertest.OpBind, broker.Errorf(broker.CodeExchangeNotFound, "no such exchange").WithBinding(1))
	w.deliver("eu")
	guest.expect("message")
	body := `{"bindings":[{"exchange":"orders","routing_key":"us"},{"exchange":"nowhere","routing_key":"#"}]}`
	alice := bearer(w.issuer.token("alice", time.Hour, "*=#"))
	if p := w.do("POST", w.sub.Links["self"]+"/bindings", body, alice...).problem(t); p.Code != "exchange_not_found" {
		t.Errorf("got %+v", p)
	}
	if f := guest.expect("bye"); f["reason"] != "forbidden_binding" {
		t.Errorf("got %v", f)
	}
}

// counting is a source that counts how often the type of an exchange was wanted: once for each
// binding that is looked up among grants.
type counting struct {
	*brokertest.Fake

	types atomic.Int64
}

func (c *counting) ExchangeType(name string) (string, bool) {
	c.types.Add(1)
	return c.Fake.ExchangeType(name)
}

func TestStreamsOfOneTokenAreLookedAtOnceForAChange(t *testing.T) {
	issuer, source := newIssuer(t), &counting{Fake: brokertest.NewFake()}
	source.SetExchanges(broker.Exchange{Name: "orders", Type: "topic"})
	g := newGateway(t, issuer.use, func(s *setup) { s.source = source })
	alice, bob := bearer(issuer.token("alice", time.Hour, "orders=#")), bearer(issuer.token("bob", time.Hour, "orders=eu"))
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"eu"}]}`, alice...)
	const each = 20
	var own, guests []*eventStream
	for range each {
		own = append(own, g.stream(sub.Links["sse"], alice...))
		guests = append(guests, g.stream(sub.Links["sse"], bob...))
	}
	for i := range each {
		own[i].expect("ready")
		guests[i].expect("ready")
	}
	before := source.types.Load()
	if a := g.do("POST", sub.Links["self"]+"/bindings", bindUS, alice...); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	// The change itself, and for alice and bob once at its beginning and once at its end, two bindings at most.
	if n := source.types.Load() - before; n > 10 {
		t.Errorf("grants were looked at %d times for one change", n)
	}
	for i := range each {
		own[i].expect("bindings")
		guests[i].expect("bye")
	}
}
