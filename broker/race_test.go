package broker_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// TestChangesThatRaceWithTheEndLoseNoBudget has markers, deliveries and the end
// of a subscription meet in as many orders as there are: whatever is appended
// when, nothing of it is counted when all is over.
func TestChangesThatRaceWithTheEndLoseNoBudget(t *testing.T) {
	fake := brokertest.NewFake()
	b := broker.New(broker.Options{Source: fake, Limits: broker.DefaultLimits()})
	change, err := broker.NewBinding("other", "#", nil)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for round := range 25 {
				raceWithEnd(t, fake, b, change, round)
			}
		})
	}
	group.Wait()
	if s := b.Stats(); s.Owned+s.Shared != 0 || s.LogBytes != 0 {
		t.Errorf("left over: %+v", s)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := fake.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// raceWithEnd lets a subscription live until some messages and changes of its
// bindings have gone into its log, and ends it while more of both come.
func raceWithEnd(t *testing.T, fake *brokertest.Fake, b *broker.Broker, change broker.Binding, some int) {
	t.Helper()
	s, err := b.Create(t.Context(), broker.Spec{})
	if err != nil {
		t.Error(err)
		return
	}
	body := []byte(strings.Repeat("x", 100))
	q := fake.Queue(s.Stream())
	enough := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		begun := sync.OnceFunc(func() { close(enough) })
		for n := 0; q.Deliver(broker.Message{Exchange: "e", RoutingKey: "k", Body: body}); n++ {
			if n == some {
				begun()
			}
		}
		begun()
	})
	group.Go(func() {
		for err := error(nil); err == nil; {
			if err = s.Bind(t.Context(), []broker.Binding{change}); err == nil {
				err = s.Unbind(t.Context(), []broker.Binding{change})
			}
		}
	})
	<-enough
	s.End(broker.EndDeleted)
	<-s.Done()
	group.Wait()
	if got := s.Snapshot().LogBytes; got != 0 {
		t.Errorf("the log of a subscription that is gone has %d bytes", got)
	}
}
