package peer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/role"
)

// ConsumerRole is the name of the process with the bare consumer.
const ConsumerRole = "consumer"

const (
	// prefetch is the gateway's default.
	prefetch = 128
	// ackEvery is how many deliveries the bare consumer acknowledges at once.
	ackEvery = 32
)

// ConsumeArgs say how many queues to make and bind, and to what.
type ConsumeArgs struct {
	URL      string `json:"url"`
	Exchange string `json:"exchange"`
	Queues   int    `json:"queues"`
	Progress string `json:"progress"` // file to tell the progress in
}

// consumer is the state of the role: one connection with a channel per queue, as a program would do it.
type consumer struct {
	conn   *amqp.Connection
	queues []*bareQueue

	mu     sync.Mutex // guards sample
	timing atomic.Bool
	sample []int64
}

type bareQueue struct {
	ch    *amqp.Channel
	name  string
	got   <-chan amqp.Delivery
	count atomic.Int64
	bytes atomic.Int64
}

// ConsumerHandlers answers the operations of the role: consume, count, time, latencies, churn.
func ConsumerHandlers() map[string]role.Handler {
	c := &consumer{}
	return map[string]role.Handler{
		"consume": role.Op(c.consume),
		"count":   role.Op(func(context.Context, load.None) (load.Counts, error) { return c.counts(), nil }),
		"time": role.Op(func(context.Context, load.None) (load.None, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.sample = c.sample[:0]
			c.timing.Store(true)
			return load.None{}, nil
		}),
		"latencies": role.Op(func(context.Context, load.None) (load.Latencies, error) {
			c.timing.Store(false)
			c.mu.Lock()
			defer c.mu.Unlock()
			return load.Sum(c.sample), nil
		}),
		"churn": role.Op(bareChurn),
	}
}

// openBare makes an exclusive queue with the gateway's bounds, binds it and consumes, on a channel of its own.
func openBare(conn *amqp.Connection, exchange, key string) (*bareQueue, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	q := &bareQueue{ch: ch, name: "bare." + rand.Text()}
	args := amqp.Table{
		"x-queue-type": "classic", "x-max-length": int64(10_000), "x-max-length-bytes": int64(64 << 20),
		"x-message-ttl": int64(300_000), "x-overflow": "drop-head",
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, err
	}
	if _, err := ch.QueueDeclare(q.name, false, false, true, false, args); err != nil {
		return nil, err
	}
	if err := ch.QueueBind(q.name, key, exchange, false, nil); err != nil {
		return nil, err
	}
	q.got, err = ch.Consume(q.name, "", false, false, false, false, nil)
	return q, err
}

func (c *consumer) consume(_ context.Context, args ConsumeArgs) (load.None, error) {
	conn, err := amqp.Dial(args.URL)
	if err != nil {
		return load.None{}, err
	}
	c.conn = conn
	progress, err := load.OpenProgress(args.Progress)
	if err != nil {
		return load.None{}, err
	}
	for i := range args.Queues {
		q, err := openBare(conn, args.Exchange, fmt.Sprint("k.", i))
		if err != nil {
			return load.None{}, err
		}
		c.queues = append(c.queues, q)
	}
	for _, q := range c.queues {
		go c.read(q) // ends with the process
	}
	go func() {
		for range time.Tick(time.Millisecond) {
			progress.Set(c.counts().Least)
		}
	}()
	return load.None{}, nil
}

func (c *consumer) read(q *bareQueue) {
	var n int64
	for d := range q.got {
		n++
		q.bytes.Add(int64(len(d.Body)))
		q.count.Store(n)
		if n%ackEvery == 0 {
			if err := q.ch.Ack(d.DeliveryTag, true); err != nil {
				return
			}
		}
		if c.timing.Load() {
			if sent := load.ReadStamp(d.Body); sent > 0 {
				took := time.Now().UnixNano() - sent
				c.mu.Lock()
				c.sample = append(c.sample, took)
				c.mu.Unlock()
			}
		}
	}
}

func (c *consumer) counts() load.Counts {
	counts := load.Counts{At: time.Now().UnixNano()}
	for i, q := range c.queues {
		n := q.count.Load()
		counts.Messages += n
		counts.Bytes += q.bytes.Load()
		if i == 0 {
			counts.Least = n
		}
		counts.Least, counts.Most = min(counts.Least, n), max(counts.Most, n)
	}
	return counts
}

// bareChurn makes queues and deletes them.
func bareChurn(_ context.Context, args load.ChurnArgs) (load.ChurnTimes, error) {
	conn, err := amqp.Dial(args.URL)
	if err != nil {
		return load.ChurnTimes{}, err
	}
	defer conn.Close() //nolint:errcheck // all it held is deleted
	queues := make([]*bareQueue, args.Count)
	var took load.ChurnTimes
	took.Create, err = load.Parallel(args.Count, args.Workers, func(i int) (err error) {
		queues[i], err = openBare(conn, args.Exchange, fmt.Sprint("k.", i))
		return err
	})
	if err != nil {
		return took, err
	}
	took.Delete, err = load.Parallel(args.Count, args.Workers, func(i int) error {
		_, err := queues[i].ch.QueueDelete(queues[i].name, false, false, false)
		return errors.Join(err, queues[i].ch.Close())
	})
	return took, err
}
