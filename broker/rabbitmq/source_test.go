package rabbitmq

import (
	"fmt"
	"testing"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestMessagesArriveInOrderAfterOpenReturned(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	q := open(t, newSource(t, url), binding(t, "events", "a.#"))
	for i := range 300 {
		pub.text("events", "a.b", fmt.Sprint(i))
		pub.text("events", "b.b", "other")
	}
	var last uint64
	for i := range 300 {
		d := next[*broker.Delivery](t, q)
		if d.Tag <= last || string(d.Body) != fmt.Sprint(i) || d.Exchange != "events" || d.RoutingKey != "a.b" {
			t.Fatalf("delivery %d is %q with tag %d after %d", i, d.Body, d.Tag, last)
		}
		last = d.Tag
		q.Ack(d.Tag)
	}
	closeQueue(t, q)
	if _, ok := <-q.Events(); ok {
		t.Error("an event after Close")
	}
}
