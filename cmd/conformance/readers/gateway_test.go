package readers

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren"
	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/memory"
	"github.com/warren-gateway/warren/broker/rabbitmq"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
	"github.com/warren-gateway/warren/transport"
	"github.com/warren-gateway/warren/web"
)

// exchange is what the corpus is published to.
const exchange = "readers"

// publish publishes one message; what it is given in order arrives in order.
type publish func(t *testing.T, m message)

// serve runs a gateway over the source and returns its address.
func serve(t *testing.T, source broker.Source) string {
	t.Helper()
	policy, err := identity.NewPolicy(identity.PolicyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := broker.DefaultLimits()
	limits.LogBytes = 64 << 20 // the whole corpus, in base64 where need be
	core := broker.New(broker.Options{Source: source, Limits: limits})
	streams := transport.New(transport.Options{Problem: api.Problem})
	handler, err := api.New(api.Options{
		Broker: core, Streams: streams, Admission: admission.New(admission.DefaultLimits()), Policy: policy, Listen: listener.Addr().String(),
		Client: web.Client(), Inspector: web.Inspector(), OpenAPI: warren.OpenAPI, AsyncAPI: warren.AsyncAPI,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := api.NewServer(handler, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends when it is closed
	}()
	t.Cleanup(func() {
		streams.Close()
		_ = server.Close()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := core.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := source.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

// inMemory is a source in process.
func inMemory(t *testing.T) (broker.Source, publish) {
	t.Helper()
	b := memory.New(memory.Options{})
	if err := b.Declare(exchange, "topic"); err != nil {
		t.Fatal(err)
	}
	return b, func(t *testing.T, m message) {
		t.Helper()
		if routed, err := b.Publish(exchange, m.key, m.properties, m.body); err != nil || !routed {
			t.Fatalf("publishing %s: %v, routed %v", m.name, err, routed)
		}
	}
}

// awaitConnection waits until the source can be used: it connects by itself,
// while a gateway already answers.
func awaitConnection(t *testing.T, source broker.Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !source.Health().Ready {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no connection to RabbitMQ after a minute: %+v", source.Health())
		}
	}
}

// onRabbitMQ is a source on a real server.
func onRabbitMQ(t *testing.T, url string) (broker.Source, publish) {
	t.Helper()
	source, err := rabbitmq.New(rabbitmq.Options{URL: url, Node: "readers", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	awaitConnection(t, source)
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err == nil {
		err = ch.ExchangeDeclare(exchange, "topic", false, false, false, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return source, func(t *testing.T, m message) {
		t.Helper()
		confirm, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), exchange, m.key, false, false, publishing(m))
		if err == nil {
			_, err = confirm.WaitContext(t.Context())
		}
		if err != nil {
			t.Fatalf("publishing %s: %v", m.name, err)
		}
	}
}

func publishing(m message) amqp.Publishing {
	p := m.properties
	out := amqp.Publishing{
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: p.DeliveryMode, Priority: p.Priority,
		CorrelationId: p.CorrelationID, ReplyTo: p.ReplyTo, Expiration: p.Expiration, MessageId: p.MessageID, Type: p.Type, AppId: p.AppID, Body: m.body,
	}
	if p.HasTimestamp {
		out.Timestamp = time.Unix(int64(p.Timestamp), 0)
	}
	if p.Headers != nil {
		out.Headers, _ = field(p.Headers).(amqp.Table)
	}
	return out
}

// field makes the library's types of ours.
func field(v any) any {
	switch v := v.(type) {
	case broker.Table:
		table := amqp.Table{}
		for name, e := range v {
			table[name] = field(e)
		}
		return table
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = field(e)
		}
		return out
	case broker.Decimal:
		return amqp.Decimal{Scale: v.Scale, Value: v.Value}
	}
	return v
}

// subscribe makes a subscription to all of the exchange and returns its path.
func subscribe(t *testing.T, base, payload string) string {
	t.Helper()
	idle := &http.Transport{}
	t.Cleanup(idle.CloseIdleConnections)
	body := `{"bindings":[{"exchange":"` + exchange + `","routing_key":"#"}],"payload":"` + payload + `","linger_seconds":600}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/subscriptions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: contract.Watch(t, idle)}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("creating a subscription: %v %s", err, raw)
	}
	var created struct{ Links struct{ Self string } }
	if err := json.Unmarshal(raw, &created); err != nil {
		t.Fatal(err)
	}
	return created.Links.Self
}
