package rabbitmq

import (
	"net/url"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestBindingThatAnExchangeOfAnotherTypeRefusesHoldsUpNothing(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	pub.declare("orders", "topic")
	s := newSource(t, address, func(o *Options) { o.ProbeInterval = time.Hour })
	odd, other := bindingWith(t, "orders", "#", broker.Table{"x-match": "the limit"}), binding(t, "amq.topic", "#")
	q := open(t, s, odd, other)
	pub.remove("orders")
	pub.declare("orders", "headers")
	closeConnections(t, address)
	recovered(t, q, broker.GapBrokerReconnected, odd)
	newPublisher(t, address).text("amq.topic", "k", "on")
	wantBody(t, q, "on")
}

func TestPermissionsOnTopicsHoldForEachBinding(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	pub.declare("orders", "topic")
	pub.declare("builds", "topic")
	mine := account(t, address, *leastPrivilege("orders$|builds$"))
	u, err := url.Parse(mine)
	if err != nil {
		t.Fatal(err)
	}
	rabbittest.Ctl(t, "-q", "set_topic_permissions", "-p", vhostOf(t, address), u.User.Username(), "orders", "", `^eu\.`)
	s := newSource(t, mine)
	allowed, other := binding(t, "orders", "eu.#"), binding(t, "builds", "#")
	q := open(t, s, allowed, other)
	pub.text("orders", "eu.a", "1")
	wantBody(t, q, "1")
	bound := open(t, s)
	if err := bound.Bind(contextOf(t), []broker.Binding{other, allowed}); err != nil {
		t.Fatal(err)
	}
	refused := []broker.Binding{other, binding(t, "orders", "us.#")}
	_, err = s.Open(contextOf(t), broker.QueueSpec{Stream: "s", Bindings: refused})
	wantCode(t, err, broker.CodeForbiddenBinding, 1)
	wantCode(t, bound.Bind(contextOf(t), refused), broker.CodeForbiddenBinding, 1)
}
