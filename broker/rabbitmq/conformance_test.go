package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestSourceConforms(t *testing.T) {
	t.Run("ChannelEach", func(t *testing.T) { conforms(t, 1000, nil) })
	t.Run("SharedChannelsWithLeastPrivilege", func(t *testing.T) { conforms(t, -1, leastPrivilege("suite-")) })
}

// conforms runs the suite with an account of these permissions, with nil as whom the address says.
func conforms(t *testing.T, solo int, p *permission) {
	t.Helper()
	const length, prefetch = 100, 20
	brokertest.TestSource(t, func(t *testing.T) brokertest.Harness {
		t.Helper()
		url := rabbittest.VHost(t)
		mine := url
		if p != nil {
			mine = account(t, url, *p)
		}
		s := newSource(t, mine, func(o *Options) {
			o.QueueMaxLength, o.Prefetch, o.SoloQueues = length, prefetch, solo
		})
		return newHarness(t, s, url)
	}, brokertest.Options{MaxLength: length, Prefetch: prefetch, Patience: patience})
}

// harness works on the broker as an ordinary client does.
type harness struct {
	src *Source

	mu       sync.Mutex // guards the rest, and the order of what is published
	conn     *amqp.Connection
	ch       *amqp.Channel
	returned chan amqp.Return
}

func newHarness(t *testing.T, s *Source, url string) *harness {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{src: s, conn: conn, returned: make(chan amqp.Return, 1)}
	t.Cleanup(func() { _ = conn.Close() })
	if h.ch, err = conn.Channel(); err != nil {
		t.Fatal(err)
	}
	h.ch.NotifyReturn(h.returned)
	if err := h.ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *harness) Source() broker.Source { return h.src }

func (h *harness) Declare(_ context.Context, name, typ string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ch.ExchangeDeclare(name, typ, false, false, false, false, nil)
}

func (h *harness) Delete(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ch.ExchangeDelete(name, false, false)
}

// Publish waits for longer than the context of a test that ends.
func (h *harness) Publish(_ context.Context, exchange, key string, p broker.Properties, body []byte) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	msg := amqp.Publishing{
		Headers: arguments(p.Headers), ContentType: p.ContentType, ContentEncoding: p.ContentEncoding,
		DeliveryMode: p.DeliveryMode, Priority: p.Priority, CorrelationId: p.CorrelationID, ReplyTo: p.ReplyTo,
		Expiration: p.Expiration, MessageId: p.MessageID, Type: p.Type, UserId: p.UserID, AppId: p.AppID, Body: body,
	}
	if p.HasTimestamp {
		msg.Timestamp = time.Unix(int64(p.Timestamp), 0)
	}
	confirm, err := h.ch.PublishWithDeferredConfirm(exchange, key, true, false, msg)
	if err != nil {
		return false, fmt.Errorf("publish: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := confirm.WaitContext(ctx); err != nil { // a nack is of one queue among them, which may just be deleted
		return false, fmt.Errorf("publish: not confirmed: %w", err)
	}
	select {
	case <-h.returned: // The broker returns a message before it confirms it.
		return false, nil
	default:
		return true, nil
	}
}
