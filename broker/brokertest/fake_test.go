package brokertest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

func binding(t *testing.T, exchange, key string) broker.Binding {
	t.Helper()
	b, err := broker.NewBinding(exchange, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFakeDeliversWhatTheTestSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := brokertest.NewFake()
		spec := broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{binding(t, "e", "k")}}
		q, err := brokertest.Open(t.Context(), fake, spec)
		if err != nil {
			t.Fatal(err)
		}
		script := fake.Queue("s")
		go func() {
			script.Deliver(broker.Message{RoutingKey: "a"}, broker.Message{RoutingKey: "b"})
			script.Recovering()
			script.Recovered(broker.GapQueueLost)
			script.Deliver(broker.Message{RoutingKey: "c"})
		}()
		var tags []uint64
		for range 5 {
			if d, ok := (<-q.Events()).(*broker.Delivery); ok {
				tags = append(tags, d.Tag)
				q.Ack(d.Tag)
			}
		}
		if len(tags) != 3 || tags[0] != 1 || tags[2] != 3 || script.Acked() != 3 {
			t.Errorf("tags %v, acked %d", tags, script.Acked())
		}
		if err := fake.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if script.Deliver(broker.Message{}) || len(q.Events()) > 0 {
			t.Error("a closed queue delivers")
		}
		closesTwice(t, q)
	})
}

func closesTwice(t *testing.T, q *brokertest.Inbox) {
	t.Helper()
	for range 2 {
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, open := <-q.Events(); open {
		t.Error("the inbox is open after its Close")
	}
}

func TestFakeKeepsWhatComesBeforeStart(t *testing.T) {
	fake := brokertest.NewFake()
	q, err := fake.Open(t.Context(), broker.QueueSpec{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	script := fake.Queue("s")
	if !script.Deliver(broker.Message{Body: []byte("a")}) || !script.Recovering() {
		t.Fatal("what comes before Start was refused")
	}
	inbox := brokertest.NewInbox(q)
	script.Deliver(broker.Message{Body: []byte("b")})
	if err := inbox.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got string
	for e := range inbox.Events() {
		if d, ok := e.(*broker.Delivery); ok {
			got += string(d.Body)
		} else {
			got += "."
		}
	}
	if got != "a.b" {
		t.Errorf("got %q, want a.b", got)
	}
}

func TestInboxPanicsOnWhatComesAfterClose(t *testing.T) {
	fake := brokertest.NewFake()
	inbox, err := brokertest.Open(t.Context(), fake, broker.QueueSpec{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if err := inbox.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("an event after Close was taken")
		}
	}()
	inbox.Take(&broker.Recovering{})
}

func TestFakeHoldsAndFailsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := brokertest.NewFake()
		release := fake.Hold(brokertest.OpOpen)
		boom := errors.New("boom")
		fake.Fail(brokertest.OpOpen, boom, nil)
		failed := make(chan error)
		go func() {
			_, err := fake.Open(t.Context(), broker.QueueSpec{Stream: "s"})
			failed <- err
		}()
		synctest.Wait()
		if n := len(fake.Calls(brokertest.OpOpen)); n != 1 || fake.Queue("s") != nil {
			t.Errorf("%d calls recorded while held, queue %v", n, fake.Queue("s"))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := fake.Open(short, broker.QueueSpec{Stream: "s"}); broker.CodeOf(err) != broker.CodeBrokerTimeout {
			t.Errorf("held until the deadline: %v", err)
		}
		release()
		if err := <-failed; !errors.Is(err, boom) {
			t.Errorf("got %v, want the scripted failure", err)
		}
		if _, err := fake.Open(t.Context(), broker.QueueSpec{Stream: "s"}); err != nil {
			t.Errorf("after the script: %v", err)
		}
		if err := fake.Until(t.Context(), func() bool { return len(fake.Queues()) == 1 }); err != nil {
			t.Error(err)
		}
	})
}

func TestFakeQueueKeepsItsBindings(t *testing.T) {
	fake := brokertest.NewFake()
	a, b := binding(t, "e", "a"), binding(t, "e", "b")
	q, err := fake.Open(t.Context(), broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{a}})
	if err != nil {
		t.Fatal(err)
	}
	fake.Fail(brokertest.OpBind, broker.Errorf(broker.CodeExchangeNotFound, "no such exchange").WithBinding(0))
	if err := q.Bind(t.Context(), []broker.Binding{b}); broker.CodeOf(err) != broker.CodeExchangeNotFound {
		t.Errorf("scripted failure: %v", err)
	}
	if err := q.Bind(t.Context(), []broker.Binding{a, b}); err != nil {
		t.Fatal(err)
	}
	if err := q.Unbind(t.Context(), []broker.Binding{a}); err != nil {
		t.Fatal(err)
	}
	have := fake.Queue("s").Bindings()
	if len(have) != 1 || have[0].ID() != b.ID() {
		t.Errorf("bindings %v, want b alone", have)
	}
}
