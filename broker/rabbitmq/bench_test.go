package rabbitmq

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// benchSource is a source as the gateway has it, without a log.
func benchSource(b *testing.B, url string) *Source {
	b.Helper()
	s, err := New(Options{URL: url, Node: "bench-" + rand.Text()[:8]})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			b.Error(err)
		}
	})
	return s
}

// bareOpen makes a queue as Open makes it, with the library alone.
func bareOpen(conn *amqp.Connection, exchange string) (<-chan amqp.Delivery, *amqp.Channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	name := "bare." + rand.Text()
	if err := ch.Qos(128, 0, false); err != nil {
		return nil, nil, err
	}
	args := amqp.Table{
		"x-queue-type": "classic", "x-max-length": int64(10_000), "x-max-length-bytes": int64(64 << 20), "x-overflow": "drop-head",
		"x-message-ttl": int64(300_000), "x-dead-letter-exchange": "nowhere", "x-dead-letter-routing-key": name,
	}
	if _, err := ch.QueueDeclare(name, false, false, true, false, args); err != nil {
		return nil, nil, err
	}
	if err := ch.QueueBind(name, name, exchange, false, nil); err != nil {
		return nil, nil, err
	}
	deliveries, err := ch.Consume(name, "", false, false, false, false, nil)
	return deliveries, ch, err
}

// BenchmarkOpen makes 1,000 queues with 32 at a time, by the library alone and by the source, in turn.
func BenchmarkOpen(b *testing.B) {
	const queues, workers = 1000, 32
	url := rabbittest.VHost(b)
	parallel := func(f func(int)) time.Duration {
		var tasks sync.WaitGroup
		var next atomic.Int64
		begun := time.Now()
		for range workers {
			tasks.Go(func() {
				for n := next.Add(1); n <= queues; n = next.Add(1) {
					f(int(n) - 1)
				}
			})
		}
		tasks.Wait()
		return time.Since(begun)
	}
	var bare, ours, deleting time.Duration
	for b.Loop() {
		conn, err := amqp.Dial(url)
		if err != nil {
			b.Fatal(err)
		}
		bare += parallel(func(int) {
			if _, _, err := bareOpen(conn, "amq.topic"); err != nil {
				b.Error(err)
			}
		})
		if err := conn.Close(); err != nil {
			b.Fatal(err)
		}
		s := benchSource(b, url)
		eventually(b, "the source is ready", func() bool { return s.Health().Ready })
		var made [queues]broker.Queue
		ours += parallel(func(i int) {
			id := rand.Text()
			binding := binding(b, "amq.topic", id)
			q, err := s.Open(context.Background(), broker.QueueSpec{Stream: id, Bindings: []broker.Binding{binding}})
			if err != nil {
				b.Error(err)
				return
			}
			made[i] = q
		})
		deleting += parallel(func(i int) {
			if err := made[i].Close(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
	n := float64(queues * b.N)
	b.ReportMetric(n/bare.Seconds(), "bare/s")
	b.ReportMetric(n/ours.Seconds(), "open/s")
	b.ReportMetric(n/deleting.Seconds(), "close/s")
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDeliveries publishes to a fanout exchange with 1, 10, 100 and 1,000 queues and measures how many deliveries per
// second come out at the other end: by the library alone, acknowledging every 32nd, and by the source.
func BenchmarkDeliveries(b *testing.B) {
	for _, queues := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(queues), func(b *testing.B) {
			url := rabbittest.VHost(b)
			pub := newPublisher(b, url)
			pub.declare("all", "fanout")
			messages := max(200_000/queues, 400)
			var bare, ours time.Duration
			for b.Loop() {
				bare += bareDeliveries(b, url, pub, queues, messages)
				ours += sourceDeliveries(b, url, pub, queues, messages)
			}
			n := float64(queues * messages * b.N)
			b.ReportMetric(n/bare.Seconds(), "bare/s")
			b.ReportMetric(n/ours.Seconds(), "source/s")
			b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// pour publishes as fast as the consumers take it, at most a window ahead of the slowest.
func pour(b *testing.B, pub *publisher, messages int, slowest func() int) {
	b.Helper()
	const window = 2000
	payload := make([]byte, 256)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for i := range messages {
		for i-slowest() > window {
			<-look.C
		}
		if _, err := pub.ch.PublishWithDeferredConfirm("all", "k", false, false, amqp.Publishing{Body: payload}); err != nil {
			b.Fatal(err)
		}
	}
}

// race runs consumers that each want a number of messages, and measures until all have them.
func race(b *testing.B, pub *publisher, messages int, consumers []func(got *atomic.Int64)) time.Duration {
	b.Helper()
	counts := make([]atomic.Int64, len(consumers))
	var tasks sync.WaitGroup
	begun := time.Now()
	for i, consume := range consumers {
		tasks.Go(func() { consume(&counts[i]) })
	}
	pour(b, pub, messages, func() int {
		least := counts[0].Load()
		for i := range counts {
			least = min(least, counts[i].Load())
		}
		return int(least)
	})
	tasks.Wait()
	return time.Since(begun)
}

func bareDeliveries(b *testing.B, url string, pub *publisher, queues, messages int) time.Duration {
	b.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	consumers := make([]func(*atomic.Int64), queues)
	for i := range consumers {
		deliveries, ch, err := bareOpen(conn, "all")
		if err != nil {
			b.Fatal(err)
		}
		consumers[i] = func(got *atomic.Int64) {
			for n := 1; n <= messages; n++ {
				d := <-deliveries
				got.Store(int64(n))
				if n%32 == 0 || n == messages {
					if err := ch.Ack(d.DeliveryTag, true); err != nil {
						b.Error(err)
						return
					}
				}
			}
		}
	}
	return race(b, pub, messages, consumers)
}

func sourceDeliveries(b *testing.B, url string, pub *publisher, queues, messages int) time.Duration {
	b.Helper()
	s := benchSource(b, url)
	eventually(b, "the source is ready", func() bool { return s.Health().Ready })
	consumers := make([]func(*atomic.Int64), queues)
	for i := range consumers {
		id := rand.Text()
		q, err := s.Open(context.Background(), broker.QueueSpec{Stream: id, Bindings: []broker.Binding{binding(b, "all", id)}})
		if err != nil {
			b.Fatal(err)
		}
		consumers[i] = func(got *atomic.Int64) {
			sink := &countingSink{q: q, got: got, left: messages, done: make(chan struct{})}
			q.Start(sink)
			<-sink.done
		}
	}
	took := race(b, pub, messages, consumers)
	if err := s.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	return took
}

// countingSink counts deliveries and acknowledges them as the core does.
type countingSink struct {
	q    broker.Queue
	got  *atomic.Int64
	tag  uint64
	left int
	done chan struct{} // closed when none is left
}

func (c *countingSink) Take(e broker.Event) {
	if d, ok := e.(*broker.Delivery); ok {
		c.tag = d.Tag
		c.got.Add(1)
		if c.left--; c.left == 0 {
			close(c.done)
		}
	}
}

func (c *countingSink) Flush() { c.q.Ack(c.tag) }
