package rabbitmq

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// mode says what to do with a binding that the broker refuses.
type mode int

const (
	// strict fails and leaves nothing behind.
	strict mode = iota
	// lenient goes on without it.
	lenient
)

// stage is where in its life an incarnation is.
type stage int

const (
	// early: it delivers already, but the core knows nothing of it yet.
	early stage = iota
	// current: what it delivers goes to the core.
	current
	// lost: nobody wants what it still delivers, which is settled by abandon.
	lost
	// abandoned: what it still delivers is settled at once.
	abandoned
)

// incarnation is one queue at the broker and its consumer.
type incarnation struct {
	q    *queue
	conn *conn
	lane *lane
	name string
	tag  string // of the consumer
	// ended is closed when the consumer has ended. Nothing else comes of it: see deliveries.
	ended <-chan amqp.Delivery
	// touched is set while there is something for the core that was not flushed. Only the reader of the connection uses it.
	touched bool

	stage stage // q.mu guards it, waiting and spoiled
	// waiting are the deliveries of an early one.
	waiting []*broker.Delivery
	// spoiled is set when an early one got a message that may have been delivered before.
	spoiled bool

	// base is the tag of the last delivery before this incarnation; its own ones count from there.
	base uint64
	// delivered is how many there were.
	delivered atomic.Uint64

	// The lane's ledger's mu guards the rest.
	tags    []uint64 // of the deliveries that are not settled, a ring by number; nil on a lane of its own
	settled uint64   // how many are
	unsent  uint64   // how many of these since the lane's last ack, which was of this round
	round   uint64
}

// make makes an incarnation of the queue with the bindings it has. The ids of those that were refused are in missing.
//
// The quick way waits for the broker only where it must. When the broker refuses, it is not said what, so then it is done
// step by step.
func (c *conn) make(q *queue, m mode) (inc *incarnation, missing []string, err error) {
	name := q.nextName()
	bindings, missing := q.wanted(m)
	if m == strict && exchangesOf(bindings) > 1 {
		if err := c.see(q, name, bindings); err != nil {
			c.discardQueue(name)
			return nil, nil, err
		}
	}
	inc, err = c.makeQuickly(q, name, bindings)
	if err == nil {
		return inc, missing, nil
	}
	c.discardQueue(name)
	// While more was being sent the channel may have been closed, and its reason is lost.
	if cut := errors.Is(err, amqp.ErrClosed) && !c.IsClosed(); limitReached(err) || !channelRefused(err) && !cut {
		return nil, nil, queueError(err)
	}
	inc, refused, err := c.makeCarefully(q, name, bindings, m)
	if err != nil {
		c.discardQueue(name)
		return nil, nil, err
	}
	return inc, append(missing, refused...), nil
}

// see declares a queue and sees whether its bindings will be refused.
func (c *conn) see(q *queue, name string, bindings []broker.Binding) error {
	return asBindError(c.disposable(func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(name, false, false, true, false, c.queueArguments(q)); err != nil {
			return err
		}
		if i, err := seeExchanges(ch, name, bindings); err != nil {
			return bindError(err, i)
		}
		return nil
	}))
}

// makeQuickly declares, binds and consumes. On a channel of its own, consuming is what confirms the rest. A lane that others
// share must not die of the rest, so that runs, and is confirmed, on another channel.
func (c *conn) makeQuickly(q *queue, name string, bindings []broker.Binding) (*incarnation, error) {
	x, err := c.lanes.join()
	if err != nil {
		return nil, err
	}
	defer x.settled()
	if x.shared {
		err = c.disposable(func(ch *amqp.Channel) error { return c.declare(ch, q, name, bindings, true) })
	} else {
		err = c.declare(x.ch, q, name, bindings, false)
	}
	if err != nil {
		x.leave()
		return nil, err
	}
	return x.attach(q, name)
}

// declare declares and binds a queue. It waits for the broker once if it shall be confirmed, else not at all.
func (c *conn) declare(ch *amqp.Channel, q *queue, name string, bindings []broker.Binding, confirmed bool) error {
	last := len(bindings) - 1
	if _, err := ch.QueueDeclare(name, false, false, true, !confirmed || last >= 0, c.queueArguments(q)); err != nil {
		return err
	}
	for i, b := range bindings {
		if err := ch.QueueBind(name, b.RoutingKey(), b.Exchange(), !confirmed || i < last, arguments(b.Arguments())); err != nil {
			return err
		}
	}
	return nil
}

// attach consumes from a queue. On an error the place on the lane is given back.
func (x *lane) attach(q *queue, name string) (*incarnation, error) {
	// The tag is in every delivery's frame, hence short. No two consumers of a connection ever have the same one, for what is
	// still on its way to the first.
	tag := strconv.FormatUint(x.conn.consumers.Add(1), 36)
	inc := &incarnation{q: q, conn: x.conn, lane: x, name: name, tag: tag}
	if x.shared {
		inc.tags = make([]uint64, x.conn.src.opts.Prefetch)
	}
	x.conn.wire.frames.deliveries.add(tag, inc)
	ended, err := x.consume(name, tag)
	if err != nil {
		inc.forget()
		x.leave()
		return nil, err
	}
	inc.ended = ended
	return inc, nil
}

// forget is called when the consumer has ended.
func (inc *incarnation) forget() { inc.conn.wire.frames.deliveries.remove(inc.tag) }

// deliver takes a message of the consumer, on the goroutine that reads the connection.
func (inc *incarnation) deliver(d *broker.Delivery, tag uint64, redelivered bool) {
	q := inc.q
	q.mu.Lock()
	defer q.mu.Unlock()
	switch inc.stage {
	case early:
		d.Tag = inc.took(tag)
		inc.spoiled = inc.spoiled || redelivered
		if !inc.spoiled {
			inc.waiting = append(inc.waiting, keep(d))
		}
	case current:
		d.Tag = inc.base + inc.took(tag)
		if redelivered { // Nobody can tell whether the core had it before.
			q.lose(inc)
			return
		}
		q.emit(d)
	case lost:
		inc.took(tag)
	case abandoned:
		l := &inc.lane.ledger
		l.mu.Lock()
		l.settle(tag)
		inc.lane.ackSoon()
		l.mu.Unlock()
	}
}

// keep returns a delivery that stays as it is when the reader goes on.
func keep(d *broker.Delivery) *broker.Delivery {
	kept := *d
	kept.Body = slices.Clone(d.Body)
	return &kept
}

func (c *conn) makeCarefully(q *queue, name string, bindings []broker.Binding, m mode) (*incarnation, []string, error) {
	ch, err := c.lanes.borrow()
	if err != nil {
		return nil, nil, queueError(err)
	}
	if _, err := ch.QueueDeclare(name, false, false, true, false, c.queueArguments(q)); err != nil {
		return nil, nil, queueError(err)
	}
	ch, refused, err := c.bindEach(ch, name, bindings, m)
	if err != nil {
		return nil, nil, err
	}
	c.lanes.giveBack(ch)
	x, err := c.lanes.join()
	if err != nil {
		return nil, nil, queueError(err)
	}
	defer x.settled()
	inc, err := x.attach(q, name)
	if err != nil {
		return nil, nil, queueError(err)
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
		if ch, err = c.lanes.borrow(); err != nil {
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
		"x-dead-letter-exchange":    c.dead.name,
		"x-dead-letter-routing-key": c.dead.keyOf(c.numberOf(q)),
	}
}

// discard deletes the incarnation's queue and gives up its place on the lane. Nobody wants its deliveries any more.
func (inc *incarnation) discard() {
	defer inc.forget()
	x := inc.lane
	if !x.shared {
		// Deleting may fail on this channel, without an answer awaited; whoever closes it then says whether it did.
		_, err := x.ch.QueueDelete(inc.name, false, false, true)
		x.leave()
		if err == nil && x.reason() == nil {
			return
		}
	}
	deleted := inc.conn.discardQueue(inc.name)
	if x.shared {
		if !deleted {
			_ = x.cancel(inc.tag) // An error means that the channel is gone.
		}
		inc.abandon() // The broker cancels the consumer of a deleted queue.
		x.leave()
	}
}

// hasEnded reports whether the consumer has ended: its queue was deleted or its process ended, or the channel was closed.
func (inc *incarnation) hasEnded() bool {
	select {
	case <-inc.ended: // It brings nothing.
		return true
	default:
		return false
	}
}

// leave is discard without the deletion, of one whose consumer has ended.
func (inc *incarnation) leave() {
	if inc.lane.shared {
		inc.abandon()
	}
	inc.lane.leave()
	inc.forget()
}

// reason says why the broker closed the channel, nil if it did not.
func (x *lane) reason() error {
	x.calls.Lock()
	defer x.calls.Unlock()
	select {
	case e, ok := <-x.closed:
		if ok {
			x.cause = e
		}
	default:
	}
	if x.cause == nil {
		return nil
	}
	return x.cause
}

// discardQueue deletes a queue, as far as there is a broker to tell. It reports whether the queue is gone.
func (c *conn) discardQueue(name string) bool {
	if c.IsClosed() {
		return true
	}
	err := c.deleteQueue(name)
	if err != nil && !c.IsClosed() {
		c.src.often.Warn("queue not deleted", slog.String("queue", name), slog.Any("error", err))
		return false
	}
	return true
}

// discardRestarted is discardQueue for a queue whose process may have ended. The broker starts such a process again, and a deletion
// meanwhile can come to nothing, or (4.3.6) be answered by 541 INTERNAL_ERROR, which ends the connection of all. It answers how
// many messages a queue has when the process is there, and so that is asked first.
func (c *conn) discardRestarted(name string) {
	if c.IsClosed() {
		return
	}
	err := c.disposable(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, false, false, true, false, nil)
		return err
	})
	if !queueGone(err) {
		c.discardQueue(name)
	}
}

// queueGone reports whether the broker said NOT_FOUND of a queue and not of an exchange, which only its text tells apart. That
// names the exchange, whose name may be anything.
func queueGone(err error) bool {
	var e *amqp.Error
	return replyCode(err) == amqp.NotFound && errors.As(err, &e) && strings.HasPrefix(e.Reason, "NOT_FOUND - no queue ")
}

// nextName names the next incarnation.
func (q *queue) nextName() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.incarnations++
	return fmt.Sprintf("warren.%s.%s.%d", q.src.opts.Node, q.stream, q.incarnations)
}
