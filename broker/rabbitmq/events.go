package rabbitmq

import (
	"crypto/rand"
	"log/slog"
	"maps"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// eventExchange is where the plugin rabbitmq_event_exchange publishes, in the virtual host that it is configured for.
	eventExchange = "amq.rabbitmq.event"
	eventDeleted  = "exchange.deleted"
	eventCreated  = "exchange.created"
	// eventMaxLength bounds the queue of events. What it drops, the probe finds, or heal mends.
	eventMaxLength = 10_000
	// eventRetry is how long after a refusal the event exchange is tried again: the plugin may be turned on meanwhile.
	eventRetry = time.Minute
)

// listen hears of exchanges that are deleted and made, where the broker's plugin is on and the account may read it. Without it
// there is the probe.
func (x *exchanges) listen() {
	for attempt := 0; ; attempt++ {
		pause := x.src.backoff(attempt)
		if c := x.src.pool.any(); c == nil {
			attempt, pause = -1, burstTick // the backoff of the connections is enough
		} else {
			events, end, err := x.subscribe(c)
			switch {
			case err == nil:
				attempt = 0
				x.hear(events)
				end()
				x.forgetTypes()
				pause = x.src.backoff(0)
			case channelRefused(err):
				x.src.log.Debug("no events of exchanges; probing only", slog.Any("error", err))
				pause = eventRetry
			}
		}
		if !x.src.sleep(pause) {
			return
		}
	}
}

// subscribe asks for the events. end is called when they have ended.
func (x *exchanges) subscribe(c *conn) (events <-chan amqp.Delivery, end func(), err error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, nil, err
	}
	name := "warren." + x.src.opts.Node + ".events." + rand.Text()
	if _, err := ch.QueueDeclare(name, false, false, true, false, x.src.helperArguments(eventMaxLength)); err != nil {
		return nil, nil, err
	}
	for _, key := range []string{eventDeleted, eventCreated} {
		if err := ch.QueueBind(name, key, eventExchange, false, nil); err != nil {
			c.discardQueue(name)
			return nil, nil, err
		}
	}
	events, err = ch.Consume(name, name, true, false, false, false, cancelWhenLost)
	return events, func() {
		_ = ch.Close()           // It is there still when it is the queue that was lost,
		c.discardRestarted(name) // and the queue when it is the consumer alone, or when the broker has started its process again.
	}, err
}

// hear acts on events until the channel is lost or the source closes.
func (x *exchanges) hear(events <-chan amqp.Delivery) {
	x.src.log.Info("the broker tells of exchanges that are deleted and made")
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			x.event(&e)
		case <-x.src.life.Done():
			return
		}
	}
}

func (x *exchanges) event(e *amqp.Delivery) {
	name, _ := e.Headers["name"].(string)
	if vhost, _ := e.Headers["vhost"].(string); vhost != x.src.addr.uri.Vhost || e.Exchange != eventExchange {
		return
	}
	switch e.RoutingKey {
	case eventDeleted:
		x.forgetType(name)
		x.gone(name)
	case eventCreated:
		if typ, ok := e.Headers["type"].(string); ok {
			x.learnType(name, typ)
			if told := x.told[name]; told != "" && told != typ {
				x.src.log.Warn("an exchange was made with another type than the configuration says; the broker is believed",
					slog.String("exchange", name), slog.String("configured", told), slog.String("type", typ))
			}
		}
		if x.isMissing(name) {
			x.probeSoon(name)
		}
	}
}

// learnType keeps the types of exchanges in use, and of as many others as there is room for.
func (x *exchanges) learnType(name, typ string) {
	const room = 10_000
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.inUse[name] != nil || x.told[name] != "" || len(x.seen) < room {
		x.seen[name] = typ
	}
}

// forgetTypes forgets what events told, when no more are heard: an exchange that is made again meanwhile with another type
// would go on lending its old one to grants with patterns. What contradicts the configuration stays, or that would lend its own.
func (x *exchanges) forgetTypes() {
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.seen, func(name, typ string) bool { return x.told[name] == "" || x.told[name] == typ })
}

func (x *exchanges) forgetType(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.seen, name)
}
