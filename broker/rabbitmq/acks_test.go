package rabbitmq

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestLedgerGoesAsFarAsEverythingIsSettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l ledger
		settled := make(map[uint64]bool)
		next := uint64(1) // the first that was not delivered
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			next += rapid.Uint64Range(0, 40).Draw(t, "delivered")
			var open []uint64
			for tag := l.low + 1; tag < next; tag++ {
				if !settled[tag] {
					open = append(open, tag)
				}
			}
			if len(open) == 0 {
				continue
			}
			tag := rapid.SampledFrom(open).Draw(t, "tag")
			settled[tag] = true
			l.settle(tag)
			want := uint64(0)
			for settled[want+1] {
				want++
			}
			if l.low != want {
				t.Fatalf("low is %d, want %d", l.low, want)
			}
		}
	})
}

// TestQueuesThatComeAndGoOnSharedChannelsHoldUpNobody has queues closed with deliveries in every state: received, in the
// library, on the way. None of them may keep the others on its channel from being acknowledged.
func TestQueuesThatComeAndGoOnSharedChannelsHoldUpNobody(t *testing.T) {
	const stays, messages = 40, 500
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("all", "fanout")
	s := newSource(t, url, func(o *Options) { o.SoloQueues, o.Prefetch = 10, 8 })
	var tasks sync.WaitGroup
	for i := range stays {
		q := open(t, s, binding(t, "all", fmt.Sprint(i)))
		tasks.Go(func() {
			for n := range messages {
				e := <-q.Events()
				d, ok := e.(*broker.Delivery)
				if !ok || string(d.Body) != fmt.Sprint(n) {
					t.Errorf("queue %d: message %d is %T %+v", i, n, e, e)
					return
				}
				q.Ack(d.Tag)
			}
		})
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	for worker := range 6 {
		churn.Go(func() {
			n := 0
			for comesAndGoes(t, s, fmt.Sprint("churn", worker, ".", n), n%6, stop) {
				n++
			}
		})
	}
	for n := range messages {
		// The broker says no when one of the queues ends just then; those that stay have the message all the same.
		_ = pub.try("all", "", publishing(fmt.Sprint(n)))
	}
	tasks.Wait()
	close(stop)
	churn.Wait()
	if n := s.Stats().Losses; n != 0 {
		t.Errorf("%d connections were lost", n)
	}
}

// comesAndGoes opens a queue, reads some of what it gets and closes it. It reports false when stop is closed.
func comesAndGoes(t *testing.T, s *Source, stream string, reads int, stop chan struct{}) bool {
	t.Helper()
	q, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: stream, Bindings: []broker.Binding{binding(t, "all", "")}})
	if err != nil {
		t.Error(err)
		return false
	}
	defer closeQueue(t, q)
	for range reads {
		select {
		case e := <-q.Events():
			if d, ok := e.(*broker.Delivery); ok {
				q.Ack(d.Tag)
			}
		case <-stop:
			return false
		}
	}
	return true
}

func TestNothingIsLeftOfManyQueues(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url, func(o *Options) { o.SoloQueues = 20 })
	var made sync.Map
	var tasks sync.WaitGroup
	for worker := range 16 {
		tasks.Go(func() {
			for i := range 15 {
				name := fmt.Sprint(worker, ".", i)
				q, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: name, Bindings: []broker.Binding{binding(t, "amq.topic", name)}})
				if err != nil {
					t.Error(err)
					return
				}
				made.Store(q, true)
			}
		})
	}
	tasks.Wait()
	channels := func() string {
		return rabbittest.Eval(t, fmt.Sprintf(`length([C || C <- rabbit_channel:list(), V <- [(catch rabbit_channel:info(C, [vhost]))], V =:= [{vhost, <<"%s">>}]])`, vhostOf(t, url)))
	}
	var n int
	if _, err := fmt.Sscan(channels(), &n); err != nil || n > 20+40+idleChannels+5 {
		t.Errorf("%d channels for 240 queues, %v", n, err)
	}
	if got := len(subscriptionQueues(t, url)); got != 240 {
		t.Errorf("%d queues", got)
	}
	made.Range(func(q, _ any) bool {
		tasks.Go(func() { closeQueue(t, q.(*brokertest.Inbox)) })
		return true
	})
	tasks.Wait()
	if got := subscriptionQueues(t, url); len(got) != 0 {
		t.Errorf("queues are left: %v", got)
	}
	eventually(t, "no more channels than are kept", func() bool {
		_, err := fmt.Sscan(channels(), &n)
		return err == nil && n <= idleChannels+5
	})
}
