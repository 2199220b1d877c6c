package rabbitmq

import (
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
