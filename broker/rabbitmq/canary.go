package rabbitmq

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// canary publishes on a connection of its own, measures how long the broker takes, and hears of alarms.
type canary struct {
	src *Source
	// token tells our markers from what others publish to the exchange.
	token string
	// epoch is what markers count their time from, so that it is the monotonic clock's: a clock that is set back would have a
	// loss begin after what is missing, or no marker seem to arrive.
	epoch time.Time

	mu        sync.Mutex // guards the rest
	exchange  string     // that it publishes to, another one on each connection; "" while there is none
	up        bool
	failed    error
	blocked   bool
	sent      time.Time // of the message whose confirm is awaited; zero: none
	roundTrip time.Duration
	held      bool      // the confirm awaited says nothing of the round trip: the broker blocked meanwhile
	confirmed time.Time // when the last message was sent that was confirmed
}

func (c *canary) init(s *Source) {
	c.src = s
	c.token = rand.Text()
	c.epoch = time.Now()
}

// run connects, again and again, until the source closes.
func (c *canary) run() {
	for attempt := 0; ; attempt++ {
		begun := time.Now()
		err := c.sing()
		if c.src.life.Err() != nil {
			return
		}
		alone := len(c.src.pool.all()) > 0 // else the connections that own queues say the same
		c.mu.Lock()
		level := slog.LevelDebug
		if c.up || alone && (c.failed == nil || err.Error() != c.failed.Error()) {
			level = slog.LevelWarn
		}
		c.exchange, c.up, c.blocked, c.held, c.sent, c.failed = "", false, false, false, time.Time{}, err
		c.mu.Unlock()
		c.src.log.LogAttrs(c.src.life, level, "the canary has no connection to the broker", slog.Any("error", err))
		if time.Since(begun) > c.src.opts.CanaryInterval {
			attempt = 0
		}
		if !c.src.sleep(c.src.connectBackoff(attempt)) {
			return
		}
	}
}

// sing lives as long as one connection, and answers why it ended.
func (c *canary) sing() error {
	l, err := c.src.dial(c.src.life, "warren "+c.src.opts.Node+" canary")
	if err != nil {
		return err
	}
	defer l.close(closeWithin)
	stop := context.AfterFunc(c.src.life, func() { l.wire.expire(time.Now().Add(closeWithin)) })
	defer stop()
	// Room for more notices than there can be between two looks; without room the library's reader would wait for us.
	blocked := l.NotifyBlocked(make(chan amqp.Blocking, 64))
	ch, err := l.Channel()
	if err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := c.prepare(ch); err != nil {
		return err
	}
	confirm, err := c.publish(ch)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.up, c.failed = true, nil
	c.mu.Unlock()
	c.src.spawn(func() { c.src.probePermissions(l.Connection) }) // ends with the connection; under an alarm it has to wait
	return c.tend(ch, confirm, blocked, closed)
}

// tend publishes at each interval and takes in what the broker says.
func (c *canary) tend(ch *amqp.Channel, confirm *amqp.DeferredConfirmation, blocked <-chan amqp.Blocking, closed <-chan *amqp.Error) (err error) {
	ticker := time.NewTicker(c.src.opts.CanaryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if confirm != nil {
				continue // One at a time: while the broker does not answer, that says enough.
			}
			if confirm, err = c.publish(ch); err != nil {
				return err
			}
		case <-done(confirm):
			c.confirm(confirm.Acked())
			confirm = nil
		case b, ok := <-blocked:
			if ok {
				c.block(b)
			} else {
				blocked = nil
			}
		case reason, ok := <-closed:
			if !ok {
				return errConnClosed
			}
			return reason
		case <-c.src.life.Done():
			return nil
		}
	}
}

func done(confirm *amqp.DeferredConfirmation) <-chan struct{} {
	if confirm == nil {
		return nil
	}
	return confirm.Done()
}

// prepare declares an exchange and a queue that keeps it: the exchange is gone with the last one bound to it.
func (c *canary) prepare(ch *amqp.Channel) error {
	name := "warren." + c.src.opts.Node + ".canary." + rand.Text()
	if err := declareExchange(ch, name); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(name, false, false, true, false, c.src.helperArguments(1)); err != nil {
		return err
	}
	if err := ch.QueueBind(name, canaryKey, name, false, nil); err != nil {
		return err
	}
	c.mu.Lock()
	c.exchange = name
	c.mu.Unlock()
	return ch.Confirm(false)
}

// source is the exchange that markers come from, "" while there is none.
func (c *canary) source() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exchange
}

func (c *canary) publish(ch *amqp.Channel) (*amqp.DeferredConfirmation, error) {
	now := time.Now()
	c.mu.Lock()
	c.sent = now
	exchange := c.exchange
	c.mu.Unlock()
	return ch.PublishWithDeferredConfirm(exchange, canaryKey, false, false, amqp.Publishing{
		MessageId:    c.messageID(now),
		DeliveryMode: amqp.Transient,
	})
}

// messageID is that of a marker sent at a time.
func (c *canary) messageID(sent time.Time) string {
	return fmt.Sprintf("%s.%d", c.token, sent.Sub(c.epoch))
}

// sentAt reads the time from a marker's message id.
func (c *canary) sentAt(messageID string) (time.Time, bool) {
	token, nanos, ok := strings.Cut(messageID, ".")
	if !ok || token != c.token {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(nanos, 10, 64)
	return c.epoch.Add(time.Duration(n)), err == nil
}

// confirm takes in the broker's answer to the last message.
func (c *canary) confirm(routed bool) {
	if !routed {
		c.src.log.Warn("the broker did not take the canary's message")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		c.roundTrip = time.Since(c.sent)
	}
	c.held = c.blocked
	if routed {
		c.confirmed = c.sent
	}
	c.sent = time.Time{}
}

// lastConfirmed is when the last message was sent that the broker has routed.
func (c *canary) lastConfirmed() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.confirmed
}

func (c *canary) block(b amqp.Blocking) {
	c.mu.Lock()
	c.blocked = b.Active
	c.held = c.held || b.Active
	c.mu.Unlock()
	if b.Active {
		c.src.log.Warn("the broker blocks publishers", slog.String("reason", b.Reason))
	} else {
		c.src.log.Info("the broker no longer blocks publishers")
	}
}
