package memory_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/memory"
)

func newBroker(t *testing.T, opts memory.Options) *memory.Broker {
	t.Helper()
	b := memory.New(opts)
	t.Cleanup(func() {
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func declare(t *testing.T, b *memory.Broker, name, typ string) {
	t.Helper()
	if err := b.Declare(name, typ); err != nil {
		t.Fatal(err)
	}
}

func binding(t testing.TB, exchange, key string, args broker.Table) broker.Binding {
	t.Helper()
	b, err := broker.NewBinding(exchange, key, args)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t testing.TB, b *memory.Broker, bindings ...broker.Binding) *brokertest.Inbox {
	t.Helper()
	q, err := brokertest.Open(t.Context(), b, broker.QueueSpec{Stream: "s", Bindings: bindings})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func publish(t *testing.T, b *memory.Broker, exchange, key string, body []byte) {
	t.Helper()
	if _, err := b.Publish(exchange, key, broker.Properties{}, body); err != nil {
		t.Fatal(err)
	}
}

// next returns the next event, which is on its way.
func next(t *testing.T, q *brokertest.Inbox) broker.Event {
	t.Helper()
	select {
	case e := <-q.Events():
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event came")
		return nil
	}
}

func nextKey(t *testing.T, q *brokertest.Inbox) string {
	t.Helper()
	e := next(t, q)
	d, ok := e.(*broker.Delivery)
	if !ok {
		t.Fatalf("got %T, want a delivery", e)
	}
	return d.RoutingKey
}

// nothing checks that no event is on its way. The test runs in a bubble.
func nothing(t *testing.T, q *brokertest.Inbox) {
	t.Helper()
	synctest.Wait()
	select {
	case e := <-q.Events():
		t.Fatalf("got %T, want nothing", e)
	default:
	}
}

func TestExchangesAreBounded(t *testing.T) {
	b := newBroker(t, memory.Options{})
	for i := range 4096 - 5 { // the predeclared ones
		declare(t, b, strconv.Itoa(i), "topic")
	}
	if err := b.Declare("more", "topic"); broker.CodeOf(err) != broker.CodeOverCapacity {
		t.Errorf("one too many: %v", err)
	}
	declare(t, b, "0", "topic") // it is there
	if err := b.Delete("0"); err != nil {
		t.Fatal(err)
	}
	declare(t, b, "more", "topic")
}

func TestDeclareAndDelete(t *testing.T) {
	b := newBroker(t, memory.Options{})
	declare(t, b, "e", "topic")
	declare(t, b, "e", "topic")
	declare(t, b, "amq.topic", "topic")
	cases := []struct {
		what  string
		err   error
		code  broker.Code
		field string
		is    error
	}{
		{"another type", b.Declare("e", "fanout"), broker.CodeInvalidRequest, "type", memory.ErrTypeConflict},
		{"predeclared with another type", b.Declare("amq.topic", "fanout"), broker.CodeInvalidRequest, "type", memory.ErrTypeConflict},
		{"reserved", b.Declare("amq.mine", "topic"), broker.CodeForbidden, "name", memory.ErrReserved},
		{"default exchange", b.Declare("", "direct"), broker.CodeInvalidRequest, "name", nil},
		{"too long", b.Declare(string(make([]byte, 256)), "direct"), broker.CodeInvalidRequest, "name", nil},
		{"not UTF-8", b.Declare("\xff", "direct"), broker.CodeInvalidRequest, "name", nil},
		{"unknown type", b.Declare("f", "x-random"), broker.CodeInvalidRequest, "type", nil},
		{"delete of none", b.Delete("none"), broker.CodeExchangeNotFound, "", nil},
		{"delete of a reserved one", b.Delete("amq.fanout"), broker.CodeForbidden, "name", memory.ErrReserved},
	}
	for _, c := range cases {
		e := broker.AsError(c.err)
		if e == nil || e.Code != c.code || e.Field != c.field || c.is != nil && !errors.Is(e, c.is) {
			t.Errorf("%s: got %v (field %q)", c.what, c.err, e.Field)
		}
	}
	list, err := b.Exchanges(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range list {
		names = append(names, x.Name+"="+x.Type)
	}
	want := []string{"amq.direct=direct", "amq.fanout=fanout", "amq.headers=headers", "amq.match=headers", "amq.topic=topic", "e=topic"}
	if !slices.Equal(names, want) {
		t.Errorf("exchanges %v, want %v", names, want)
	}
	if typ, known := b.ExchangeType("e"); typ != "topic" || !known {
		t.Errorf("type of e: %q, %v", typ, known)
	}
	if err := b.Delete("e"); err != nil {
		t.Fatal(err)
	}
	if typ, known := b.ExchangeType("e"); known {
		t.Errorf("type of the deleted e: %q", typ)
	}
}

func TestPublishSaysWhetherItRouted(t *testing.T) {
	b := newBroker(t, memory.Options{})
	declare(t, b, "e", "direct")
	open(t, b, binding(t, "e", "k", nil))
	if routed, err := b.Publish("e", "k", broker.Properties{}, nil); !routed || err != nil {
		t.Errorf("bound key: %v, %v", routed, err)
	}
	if routed, err := b.Publish("e", "other", broker.Properties{}, nil); routed || err != nil {
		t.Errorf("other key: %v, %v", routed, err)
	}
	if _, err := b.Publish("none", "k", broker.Properties{}, nil); broker.CodeOf(err) != broker.CodeExchangeNotFound {
		t.Errorf("no exchange: %v", err)
	}
	if _, err := b.Publish("e", string(make([]byte, 256)), broker.Properties{}, nil); broker.CodeOf(err) != broker.CodeInvalidRequest {
		t.Errorf("key too long: %v", err)
	}
}

func TestFullQueueDropsItsHeadAndSaysWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, memory.Options{QueueMaxLength: 3, Prefetch: 2})
		declare(t, b, "e", "fanout")
		q := open(t, b, binding(t, "e", "", nil))
		for i := range 9 {
			publish(t, b, "e", strconv.Itoa(i), nil)
		}
		for _, want := range []string{"0", "1"} {
			if got := nextKey(t, q); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		nothing(t, q)
		q.Ack(1)
		if o, ok := next(t, q).(*broker.Overflow); !ok || o.Missed != 4 || o.Since.IsZero() {
			t.Errorf("got %+v, want an overflow of 4", o)
		}
		if got := nextKey(t, q); got != "6" {
			t.Errorf("got %s after the overflow, want 6", got)
		}
		q.Ack(99) // Tags that were never given out count as the last that was.
		if a, b := nextKey(t, q), nextKey(t, q); a != "7" || b != "8" {
			t.Errorf("got %s and %s, want 7 and 8", a, b)
		}
		nothing(t, q)
	})
}

func TestQueueIsBoundInBytesButKeepsTheNewest(t *testing.T) {
	b := newBroker(t, memory.Options{QueueMaxBytes: 10, Prefetch: 1})
	declare(t, b, "e", "fanout")
	q := open(t, b, binding(t, "e", "", nil))
	for i, size := range []int{1, 4, 4, 4, 50} {
		publish(t, b, "e", strconv.Itoa(i), make([]byte, size))
	}
	if got := nextKey(t, q); got != "0" {
		t.Errorf("got %s, want 0", got)
	}
	q.Ack(1)
	if o, ok := next(t, q).(*broker.Overflow); !ok || o.Missed != 3 {
		t.Errorf("got %+v, want an overflow of 3", o)
	}
	if got := nextKey(t, q); got != "4" {
		t.Errorf("got %s, want 4", got)
	}
}

func TestEventsThatNobodyReadsKeepTheirOrder(t *testing.T) {
	b := newBroker(t, memory.Options{Prefetch: 4, QueueMaxLength: 5})
	declare(t, b, "keep", "fanout")
	declare(t, b, "flap", "fanout")
	q := open(t, b, binding(t, "keep", "", nil), binding(t, "flap", "", nil))
	const rounds = 40
	for i := range rounds {
		publish(t, b, "keep", strconv.Itoa(i), nil)
		if err := b.Delete("flap"); err != nil {
			t.Fatal(err)
		}
		declare(t, b, "flap", "fanout")
	}
	lost, back, at, missed := 0, 0, -1, int64(0)
	for lost < rounds || back < rounds || int64(at)+1 < rounds {
		switch e := next(t, q).(type) {
		case *broker.Delivery:
			n, err := strconv.Atoi(e.RoutingKey)
			if err != nil || n <= at {
				t.Fatalf("message %q after %d", e.RoutingKey, at)
			}
			missed += int64(n - at - 1)
			at = n
			q.Ack(e.Tag)
		case *broker.Overflow:
			missed -= e.Missed
		case *broker.BindingsLost:
			lost++
		case *broker.BindingsBack:
			back++
		default:
			t.Fatalf("unexpected %T", e)
		}
		if back > lost || lost > back+1 {
			t.Fatalf("%d bindings lost, %d back", lost, back)
		}
	}
	if missed != 0 {
		t.Errorf("the overflows are off by %d", missed)
	}
}

// stuck is a sink that waits in Take until it is let go.
type stuck struct {
	in, out chan struct{}
	taken   int
}

func (s *stuck) Flush() {}
func (s *stuck) Take(broker.Event) {
	s.taken++
	s.in <- struct{}{}
	<-s.out
}

func TestCloseWaitsForTheSinkAndForgetsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(memory.Options{})
		declare(t, b, "e", "fanout")
		q, err := b.Open(t.Context(), broker.QueueSpec{Bindings: []broker.Binding{binding(t, "e", "", nil)}})
		if err != nil {
			t.Fatal(err)
		}
		sink := &stuck{in: make(chan struct{}), out: make(chan struct{})}
		q.Start(sink)
		for range 10 {
			publish(t, b, "e", "k", nil)
		}
		<-sink.in
		closed := make(chan error, 2)
		go func() { closed <- q.Close(t.Context()) }()
		go func() { closed <- b.Close(t.Context()) }()
		synctest.Wait()
		if len(closed) > 0 {
			t.Error("Close returned while the sink was busy")
		}
		close(sink.out)
		for range cap(closed) {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		if sink.taken != 1 {
			t.Errorf("%d events came, want the one", sink.taken)
		}
	})
}

func TestExchangeOfAnotherTypeTakesTheBindingsItCan(t *testing.T) {
	b := newBroker(t, memory.Options{})
	declare(t, b, "e", "topic")
	odd := binding(t, "e", "k", broker.Table{"x-match": "some"})
	plain := binding(t, "e", "k", nil)
	q := open(t, b, odd, plain)
	if err := b.Delete("e"); err != nil {
		t.Fatal(err)
	}
	if lost, ok := next(t, q).(*broker.BindingsLost); !ok || len(lost.IDs) != 2 {
		t.Fatalf("got %+v, want both bindings lost", lost)
	}
	declare(t, b, "e", "headers")
	if back, ok := next(t, q).(*broker.BindingsBack); !ok || !slices.Equal(back.IDs, []string{plain.ID()}) {
		t.Fatalf("got %+v, want the plain binding back", back)
	}
	_, err := b.Open(t.Context(), broker.QueueSpec{Bindings: []broker.Binding{plain, odd}})
	if e := broker.AsError(err); e == nil || e.Code != broker.CodeInvalidRequest || e.Binding != 1 || e.Field != "arguments" {
		t.Errorf("x-match some: %v", err)
	}
	// A missing binding can be unbound, and does not come back then.
	if err := q.Unbind(t.Context(), []broker.Binding{odd}); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete("e"); err != nil {
		t.Fatal(err)
	}
	next(t, q)
	declare(t, b, "e", "topic")
	if back, ok := next(t, q).(*broker.BindingsBack); !ok || len(back.IDs) != 1 {
		t.Errorf("got %+v, want one binding back", back)
	}
}

func TestClosedBrokerRefuses(t *testing.T) {
	b := memory.New(memory.Options{})
	declare(t, b, "e", "topic")
	if !b.Health().Ready {
		t.Error("not ready")
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, publishErr := b.Publish("e", "k", broker.Properties{}, nil)
	_, openErr := b.Open(t.Context(), broker.QueueSpec{})
	for _, err := range []error{publishErr, openErr, b.Declare("f", "topic"), b.Delete("e")} {
		if broker.CodeOf(err) != broker.CodeBrokerUnavailable {
			t.Errorf("got %v", err)
		}
	}
	if h := b.Health(); h.Ready || len(h.Reasons) == 0 {
		t.Errorf("health %+v", h)
	}
}

func TestLossIsToldRightAfterWhatTheExchangeRouted(t *testing.T) {
	b := newBroker(t, memory.Options{})
	declare(t, b, "e", "fanout")
	declare(t, b, "other", "fanout")
	q := open(t, b, binding(t, "e", "", nil), binding(t, "other", "", nil))
	publish(t, b, "e", "before", nil)
	if err := b.Delete("e"); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "other", "meanwhile", nil)
	declare(t, b, "e", "fanout")
	publish(t, b, "e", "after", nil)
	if got := nextKey(t, q); got != "before" {
		t.Errorf("got %s", got)
	}
	if _, ok := next(t, q).(*broker.BindingsLost); !ok {
		t.Error("the loss is not told after the last message")
	}
	if got := nextKey(t, q); got != "meanwhile" {
		t.Errorf("got %s", got)
	}
	if _, ok := next(t, q).(*broker.BindingsBack); !ok {
		t.Error("the return is not told before the first message")
	}
	if got := nextKey(t, q); got != "after" {
		t.Errorf("got %s", got)
	}
}
