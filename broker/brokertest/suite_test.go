package brokertest_test

import (
	"context"
	"testing"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// fakeHarness delivers to the queues of a Fake that have a binding of exactly
// the message's exchange and key.
type fakeHarness struct{ *brokertest.Fake }

func (h fakeHarness) Source() broker.Source                        { return h.Fake }
func (h fakeHarness) Declare(_ context.Context, _, _ string) error { return nil }
func (h fakeHarness) Delete(_ context.Context, _ string) error     { return nil }
func (h fakeHarness) Publish(_ context.Context, exchange, key string, p broker.Properties, body []byte) (bool, error) {
	routed := false
	for _, q := range h.Queues() {
		for _, b := range q.Bindings() {
			if !q.Closed() && b.Exchange() == exchange && b.RoutingKey() == key {
				m := broker.Message{Exchange: exchange, RoutingKey: key, Properties: p, Body: body}
				routed = q.Deliver(m) || routed
				break
			}
		}
	}
	return routed, nil
}

func TestFakeIsASource(t *testing.T) {
	brokertest.TestSource(t, func(*testing.T) brokertest.Harness {
		return fakeHarness{brokertest.NewFake()}
	}, brokertest.Options{Scripted: true})
}
