package rabbitmq

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// consumerTag is in every delivery's frame, hence short. Each consumer has its channel to itself.
const consumerTag = "w"

// mode says what to do with a binding that the broker refuses.
type mode int

const (
	// strict fails and leaves nothing behind.
	strict mode = iota
	// lenient goes on without it.
	lenient
)

// incarnation is one queue at the broker, consumed on a channel of its own.
type incarnation struct {
	conn       *conn
	ch         *amqp.Channel
	name       string
	deliveries <-chan amqp.Delivery
	// closed gets the broker's reason when it closes the channel, and is closed when the channel is.
	closed chan *amqp.Error
	// base is the tag of the last delivery before this incarnation; its own ones count from there.
	base uint64
	// delivered is the channel's tag of its last delivery.
	delivered atomic.Uint64

	ackMu sync.Mutex // guards the rest, and the order of acks on the wire
	// These are delivery tags of the channel.
	appended, acked uint64
	waiting         bool // the acker has it
}

// make makes an incarnation of the queue with the bindings it has. The ids of those that were refused are in missing.
//
// The quick way waits for the broker three times only: opening the channel, prefetch, and consuming, which confirms what
// was asked before it on the channel. When the broker refuses, it is not said what, so then it is done step by step.
func (c *conn) make(q *queue, m mode) (inc *incarnation, missing []string, err error) {
	name := q.nextName()
	bindings, missing := q.wanted(m)
	inc, err = c.makeQuickly(q, name, bindings)
	switch {
	case err == nil:
		return inc, missing, nil
	case limitReached(err) || !channelRefused(err):
		return nil, nil, queueError(err)
	}
	if err := c.deleteQueue(name); err != nil {
		return nil, nil, queueError(err)
	}
	inc, refused, err := c.makeCarefully(q, name, bindings, m)
	return inc, append(missing, refused...), err
}

func (c *conn) makeQuickly(q *queue, name string, bindings []broker.Binding) (inc *incarnation, err error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = ch.Close() // Most errors closed it.
		}
	}()
	if err := ch.Qos(c.src.opts.Prefetch, 0, false); err != nil {
		return nil, err
	}
	if _, err := ch.QueueDeclare(name, false, false, true, true, c.queueArguments(q)); err != nil {
		return nil, err
	}
	for _, b := range bindings {
		if err := ch.QueueBind(name, b.RoutingKey(), b.Exchange(), true, arguments(b.Arguments())); err != nil {
			return nil, err
		}
	}
	return c.consume(ch, name)
}

func (c *conn) consume(ch *amqp.Channel, name string) (*incarnation, error) {
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	deliveries, err := ch.Consume(name, consumerTag, false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	return &incarnation{conn: c, ch: ch, name: name, deliveries: deliveries, closed: closed}, nil
}

func (c *conn) makeCarefully(q *queue, name string, bindings []broker.Binding, m mode) (*incarnation, []string, error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, nil, queueError(err)
	}
	if _, err := ch.QueueDeclare(name, false, false, true, false, c.queueArguments(q)); err != nil {
		return nil, nil, queueError(err)
	}
	ch, refused, err := c.bindEach(ch, name, bindings, m)
	if err == nil {
		if err = ch.Qos(c.src.opts.Prefetch, 0, false); err != nil {
			err = queueError(err)
		}
	}
	var inc *incarnation
	if err == nil {
		if inc, err = c.consume(ch, name); err != nil {
			err = queueError(err)
		}
	}
	if err != nil {
		c.discardQueue(name)
		return nil, nil, err
	}
	return inc, refused, nil
}

// bindEach binds one after the other, and answers a channel that is open after that.
func (c *conn) bindEach(ch *amqp.Channel, name string, bindings []broker.Binding, m mode) (open *amqp.Channel, refused []string, err error) {
	for i, b := range bindings {
		err := bind(ch, name, b)
		if err == nil {
			continue
		}
		if m == strict || !channelRefused(err) {
			return nil, nil, bindError(err, i)
		}
		c.src.exchanges.refused(b, err)
		refused = append(refused, b.ID())
		if ch, err = c.Channel(); err != nil {
			return nil, nil, queueError(err)
		}
	}
	return ch, refused, nil
}

func bind(ch *amqp.Channel, queue string, b broker.Binding) error {
	return ch.QueueBind(queue, b.RoutingKey(), b.Exchange(), false, arguments(b.Arguments()))
}

func unbind(ch *amqp.Channel, queue string, b broker.Binding) error {
	return ch.QueueUnbind(queue, b.RoutingKey(), b.Exchange(), arguments(b.Arguments()))
}

// queueArguments are those of the contract. Exclusive goes without saying; not auto-delete, or a cancelled consumer would take
// along what was not yet counted.
func (c *conn) queueArguments(q *queue) amqp.Table {
	o := &c.src.opts
	return amqp.Table{
		"x-queue-type":              "classic",
		"x-max-length":              int64(o.QueueMaxLength),
		"x-max-length-bytes":        int64(o.QueueMaxBytes),
		"x-message-ttl":             o.QueueTTL.Milliseconds(),
		"x-overflow":                "drop-head",
		"x-dead-letter-exchange":    c.src.exchange,
		"x-dead-letter-routing-key": c.dead.keyOf(c.numberOf(q)),
	}
}

// discard deletes the incarnation's queue and closes its channel, if the connection is still there. Nobody else uses the
// channel, so deleting may fail on it, without an answer awaited; whoever closes it then says whether it did.
func (inc *incarnation) discard() {
	if _, err := inc.ch.QueueDelete(inc.name, false, false, true); err == nil {
		if err = inc.ch.Close(); err == nil && <-inc.closed == nil {
			return
		}
	}
	inc.conn.discardQueue(inc.name)
}

// discardQueue deletes a queue, as far as there is a broker to tell.
func (c *conn) discardQueue(name string) {
	if c.IsClosed() {
		return
	}
	if err := c.deleteQueue(name); err != nil && !c.IsClosed() {
		c.src.log.Warn("queue not deleted", slog.String("queue", name), slog.Any("error", err))
	}
}

// queueGone reports whether the broker said NOT_FOUND of a queue and not of an exchange, which only its text tells apart.
func queueGone(err error) bool {
	return replyCode(err) == amqp.NotFound && strings.Contains(err.Error(), "no queue")
}

// nextName names the next incarnation.
func (q *queue) nextName() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.incarnations++
	return fmt.Sprintf("warren.%s.%s.%d", q.src.opts.Node, q.stream, q.incarnations)
}
