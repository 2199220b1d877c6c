package world

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/cmd/faults/oracle"
)

// Load says how a publisher publishes.
type Load struct {
	// Rate is in messages per second, Pad the length of their padding in bytes.
	Rate, Pad int
}

// Publisher publishes numbered messages of one source to a topic exchange, and takes notes of what the broker confirmed. It
// survives whatever happens to the broker; what was on the way then is neither confirmed nor sent again.
type Publisher struct {
	source *oracle.Source
	url    string
	key    string
	clock  func() time.Duration
	done   chan struct{}
	stop   context.CancelFunc

	mu    sync.Mutex // guards the rest
	load  Load
	burst int // to be published without a pause
	large int // of the next messages: above the gateway's bound
}

// StartPublisher starts a publisher. It declares its exchange once, before it returns.
func StartPublisher(ctx context.Context, url string, source *oracle.Source, key string, clock func() time.Duration, load Load) (*Publisher, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &Publisher{
		source: source, url: url, key: key, clock: clock, done: make(chan struct{}), stop: cancel, load: load,
	}
	if err := p.Declare(); err != nil {
		cancel()
		return nil, err
	}
	go p.run(ctx)
	return p, nil
}

// Source returns what it publishes.
func (p *Publisher) Source() *oracle.Source { return p.source }

// SetLoad changes the rate and size.
func (p *Publisher) SetLoad(load Load) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.load = load
}

// Flood publishes so many messages as fast as the broker takes them, and then goes on as before.
func (p *Publisher) Flood(messages int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.burst += messages
}

// Oversize makes so many of the next messages larger than the gateway takes by default.
func (p *Publisher) Oversize(messages int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.large += messages
}

// Flooding reports whether a flood is still going on.
func (p *Publisher) Flooding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.burst > 0
}

// Stop ends publishing and waits for what is on the way to be confirmed, for a while.
func (p *Publisher) Stop() {
	p.stop()
	<-p.done
}

// Declare declares the exchange.
func (p *Publisher) Declare() error {
	return p.once(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(p.source.Exchange(), amqp.ExchangeTopic, true, false, false, false, nil)
	})
}

// Undeclare deletes the exchange.
func (p *Publisher) Undeclare() error {
	return p.once(func(ch *amqp.Channel) error { return ch.ExchangeDelete(p.source.Exchange(), false, false) })
}

// once does something on a connection of its own.
func (p *Publisher) once(do func(*amqp.Channel) error) error {
	conn, err := amqp.Dial(p.url)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // what was done is done
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return do(ch)
}

// run publishes on one connection after the other.
func (p *Publisher) run(ctx context.Context) {
	defer close(p.done)
	for ctx.Err() == nil {
		if err := p.session(ctx); err != nil && ctx.Err() == nil {
			Wait(ctx, 100*time.Millisecond)
		}
	}
}

// confirmTimeout is how long the end of publishing waits for confirms.
const confirmTimeout = 10 * time.Second

// session publishes until the connection breaks or the context ends.
func (p *Publisher) session(ctx context.Context) error {
	// The heartbeat is long, so that a broker that stands still for a while keeps the connection: with two of them, what
	// was on the way by the first could overtake.
	conn, err := amqp.DialConfig(p.url, amqp.Config{Heartbeat: time.Minute, Locale: "en_US"})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it may be broken
	for ctx.Err() == nil && !conn.IsClosed() {
		if err := p.channel(ctx, conn); err != nil && !Wait(ctx, 50*time.Millisecond) {
			break
		}
	}
	return errors.Join(amqp.ErrClosed, ctx.Err())
}

// channel publishes until the channel breaks, which is what a missing exchange does to it.
func (p *Publisher) channel(ctx context.Context, conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close() //nolint:errcheck // it may be broken
	// A publisher that does not know whether its exchange is there does not begin.
	if err := ch.ExchangeDeclarePassive(p.source.Exchange(), amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	first := p.source.Last() + 1
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 4096))
	var confirmed sync.WaitGroup
	var newest sync.Mutex // guards acked
	acked := 0
	confirmed.Go(func() {
		for c := range confirms {
			if c.Ack {
				p.source.Confirm(first + int(c.DeliveryTag) - 1)
			}
			newest.Lock()
			acked++
			newest.Unlock()
		}
	})
	waiting := func() int {
		newest.Lock()
		defer newest.Unlock()
		return p.source.Last() - first + 1 - acked
	}
	err = p.publish(ctx, ch, waiting)
	if err == nil { // orderly: wait for the confirms
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout)
		_ = Poll(wait, 5*time.Millisecond, func() bool { return waiting() == 0 || ch.IsClosed() })
		cancel()
	}
	_ = ch.Close() // ends the confirms
	confirmed.Wait()
	return err
}

// window bounds how many messages wait for their confirm.
const window = 1000

// publish publishes at the rate until the context ends (nil) or the channel breaks.
func (p *Publisher) publish(ctx context.Context, ch *amqp.Channel, waiting func() int) error {
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	owed, before := 0.0, time.Now()
	for {
		load, burst := p.due()
		now := time.Now()
		owed = min(owed+now.Sub(before).Seconds()*float64(load.Rate), float64(load.Rate)/2+1)
		before = now
		for n := 0; n < 500 && (owed >= 1 || burst > 0) && waiting() < window; n++ {
			if ch.IsClosed() {
				return amqp.ErrClosed
			}
			if err := p.one(ctx, ch, p.pad(load)); err != nil {
				return err
			}
			if burst > 0 {
				burst--
				p.spend()
				continue
			}
			owed--
		}
		if ch.IsClosed() {
			return amqp.ErrClosed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (p *Publisher) due() (Load, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.load, p.burst
}

// oversized is above the bound of one MiB.
const oversized = 1<<20 + 1

// pad returns how long the next message's padding is.
func (p *Publisher) pad(load Load) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.large > 0 {
		p.large--
		return oversized
	}
	return load.Pad
}

func (p *Publisher) spend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.burst = max(0, p.burst-1)
}

func (p *Publisher) one(ctx context.Context, ch *amqp.Channel, pad int) error {
	n := p.source.Begin(p.clock())
	body, err := json.Marshal(oracle.Number{Source: p.source.Name(), Number: n, Pad: strings.Repeat("x", pad)})
	if err != nil {
		return err
	}
	return ch.PublishWithContext(ctx, p.source.Exchange(), p.key, false, false, amqp.Publishing{ContentType: "application/json", Body: body})
}
