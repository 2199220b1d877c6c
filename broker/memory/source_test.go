package memory_test

import (
	"context"
	"testing"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/memory"
)

type harness struct{ b *memory.Broker }

func (h harness) Source() broker.Source                             { return h.b }
func (h harness) Declare(_ context.Context, name, typ string) error { return h.b.Declare(name, typ) }
func (h harness) Delete(_ context.Context, name string) error       { return h.b.Delete(name) }
func (h harness) Publish(_ context.Context, exchange, key string, p broker.Properties, body []byte) (bool, error) {
	return h.b.Publish(exchange, key, p, body)
}

func TestBrokerIsASource(t *testing.T) {
	opts := memory.Options{QueueMaxLength: 100, Prefetch: 10}
	brokertest.TestSource(t, func(*testing.T) brokertest.Harness {
		return harness{memory.New(opts)}
	}, brokertest.Options{MaxLength: opts.QueueMaxLength, Prefetch: opts.Prefetch})
}
