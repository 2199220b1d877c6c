package rabbitmq

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// spareChannels is how many of a connection's channels are not for consuming: binds, probes, dead letters.
const spareChannels = 24

// conn is a connection that owns queues.
type conn struct {
	*link
	src    *Source
	id     string // random; names it in routing keys of dead letters
	number int    // names it in the broker's list
	limit  int    // places
	gone   chan struct{}
	// consumers is how many there were.
	consumers atomic.Uint64

	used      int       // places taken; the pool's mu guards it
	idleSince time.Time // meaningful while used is 0; the pool's mu guards it

	lanes lanes
	acks  acker
	dead  deadLetters

	mu     sync.Mutex // guards the rest
	owners map[uint64]owner
	byQ    map[*queue]uint64
	next   uint64
}

// owner is a queue that lives, or lived, on a connection.
type owner struct {
	q     *queue
	since time.Time
}

// openConn connects and prepares the place for dead letters.
func (s *Source) openConn(number int) (*conn, error) {
	l, err := s.dial(s.life, fmt.Sprintf("warren %s consumers %d", s.opts.Node, number))
	if err != nil {
		return nil, err
	}
	c := &conn{
		link:   l,
		src:    s,
		id:     rand.Text(),
		number: number,
		limit:  min(MaxQueuesPerConnection, int(l.Config.ChannelMax)-spareChannels),
		gone:   make(chan struct{}),
		owners: make(map[uint64]owner),
		byQ:    make(map[*queue]uint64),
	}
	c.limit = max(c.limit, 1)
	c.lanes.conn = c
	c.acks.init(c)
	c.dead.init(c)
	stop := context.AfterFunc(s.life, func() { _ = l.wire.Close() })
	err = c.dead.prepare()
	c.dead.since = time.Now()
	if !stop() || err != nil {
		l.close(closeWithin)
		return nil, fmt.Errorf("preparing a connection to the broker: %w", err)
	}
	return c, nil
}

// start starts the connection's goroutines. The pool has it from now on.
func (c *conn) start() {
	c.src.log.Info("connected to the broker", slog.Int("connection", c.number))
	c.src.stats.connects.add()
	c.src.tasks.Go(c.watch)
	c.src.tasks.Go(c.acks.run)
	c.src.tasks.Go(c.dead.run)
}

// watch waits for the end of the connection.
func (c *conn) watch() {
	reason, unexpected := <-c.lost
	close(c.gone)
	if unexpected {
		c.src.stats.losses.add()
		c.src.log.Warn("connection to the broker lost", slog.Int("connection", c.number), slog.Any("error", reason))
	}
	c.src.pool.lost(c)
}

func (c *conn) close() { c.link.close(closeWithin) }

// numberOf returns the number under which a queue's dead letters arrive on this connection.
func (c *conn) numberOf(q *queue) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.byQ[q]
	if !ok {
		c.next++
		n = c.next
		c.byQ[q] = n
		c.owners[n] = owner{q: q, since: time.Now()}
	}
	return n
}

// forget strikes off a queue that is gone.
func (c *conn) forget(q *queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.owners, c.byQ[q])
	delete(c.byQ, q)
}

func (c *conn) ownerOf(number uint64) (owner, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.owners[number]
	return o, ok
}

func (c *conn) allOwners() []owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]owner, 0, len(c.owners))
	for _, o := range c.owners {
		all = append(all, o)
	}
	return all
}

// deleteQueue deletes a queue, whether it is there or not.
func (c *conn) deleteQueue(name string) error {
	return c.disposable(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(name, false, false, false)
		return err
	})
}
