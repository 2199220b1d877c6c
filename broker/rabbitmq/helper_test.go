package rabbitmq

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// patience bounds every wait of the tests; most take milliseconds.
const patience = 30 * time.Second

// newSource returns a source with short intervals, closed when the test ends.
func newSource(t testing.TB, url string, change ...func(*Options)) *Source {
	t.Helper()
	opts := Options{
		URL:            url,
		Node:           "test-" + rand.Text()[:8],
		Logger:         slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		ProbeInterval:  300 * time.Millisecond,
		CanaryInterval: 300 * time.Millisecond,
		RecoverDelay:   20 * time.Millisecond,
	}
	for _, f := range change {
		f(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// publisher publishes with confirms, so that what it returns from has been routed.
type publisher struct {
	t    testing.TB
	conn *amqp.Connection
	ch   *amqp.Channel
}

func newPublisher(t testing.TB, url string) *publisher {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p := &publisher{t: t, conn: conn}
	p.open()
	return p
}

func (p *publisher) open() {
	p.t.Helper()
	ch, err := p.conn.Channel()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		p.t.Fatal(err)
	}
	p.ch = ch
}

func (p *publisher) declare(name, kind string) {
	p.t.Helper()
	if err := p.ch.ExchangeDeclare(name, kind, false, false, false, false, nil); err != nil {
		p.t.Fatal(err)
	}
}

func (p *publisher) remove(name string) {
	p.t.Helper()
	if err := p.ch.ExchangeDelete(name, false, false); err != nil {
		p.t.Fatal(err)
	}
}

func (p *publisher) publish(exchange, key string, msg amqp.Publishing) {
	p.t.Helper()
	if !p.try(exchange, key, msg) {
		p.t.Fatal("the broker did not take a message")
	}
}

// try publishes a message, and reports whether the broker confirmed it or said no (basic.nack), for which one of its queues is
// enough.
func (p *publisher) try(exchange, key string, msg amqp.Publishing) bool {
	p.t.Helper()
	confirm, err := p.ch.PublishWithDeferredConfirm(exchange, key, false, false, msg)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ok, err := confirm.WaitContext(ctx)
	if err != nil {
		p.t.Fatalf("message not confirmed: %v", err)
	}
	return ok
}

func publishing(body string) amqp.Publishing { return amqp.Publishing{Body: []byte(body)} }

func (p *publisher) text(exchange, key, body string) {
	p.t.Helper()
	p.publish(exchange, key, publishing(body))
}

func binding(t testing.TB, exchange, key string) broker.Binding {
	t.Helper()
	return bindingWith(t, exchange, key, nil)
}

func bindingWith(t testing.TB, exchange, key string, args broker.Table) broker.Binding {
	t.Helper()
	b, err := broker.NewBinding(exchange, key, args)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open opens a queue, closed when the test ends.
func open(t testing.TB, s *Source, bindings ...broker.Binding) *brokertest.Inbox {
	t.Helper()
	q, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: rand.Text(), Bindings: bindings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeQueue(t, q) })
	return q
}

func closeQueue(t testing.TB, q *brokertest.Inbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		t.Error(err)
	}
}

// next returns the next event of the type, which must be the next of all.
func next[E broker.Event](t testing.TB, q *brokertest.Inbox) E {
	t.Helper()
	e, ok := receive(t, q).(E)
	if !ok {
		t.Fatalf("got another event than %T", e)
	}
	return e
}

func receive(t testing.TB, q *brokertest.Inbox) broker.Event {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case e, ok := <-q.Events():
		if !ok {
			t.Fatal("events are closed")
		}
		return e
	case <-timeout.C:
		t.Fatal("no event")
	}
	return nil
}

// body returns the next delivery's body, acknowledged.
func body(t testing.TB, q *brokertest.Inbox) string {
	t.Helper()
	d := next[*broker.Delivery](t, q)
	q.Ack(d.Tag)
	return string(d.Body)
}

func wantBody(t testing.TB, q *brokertest.Inbox, want string) {
	t.Helper()
	if got := body(t, q); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

func wantIDs(t testing.TB, got []string, want ...broker.Binding) {
	t.Helper()
	ids := make([]string, len(want))
	for i, b := range want {
		ids[i] = b.ID()
	}
	slices.Sort(ids)
	got = slices.Sorted(slices.Values(got))
	if !slices.Equal(got, ids) {
		t.Fatalf("got binding ids %v, want %v", got, ids)
	}
}

func wantCode(t testing.TB, err error, code broker.Code, index int) {
	t.Helper()
	if broker.CodeOf(err) != code {
		t.Fatalf("got error %v, want code %s", err, code)
	}
	if got := broker.AsError(err).Binding; got != index {
		t.Fatalf("error is about binding %d, want %d: %v", got, index, err)
	}
}
