package rabbitmq

import (
	"log/slog"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// healPerSecond is how many bindings are made again in a second, on average: a thirtieth of what a broker on two cores can do.
const healPerSecond = 20

// heal binds a share of all bindings again, which changes nothing at the broker where they are still there. An exchange that
// was deleted and made again between two probes looks as before and has lost its bindings; AMQP cannot list them. Without
// this, its subscriptions would be deaf for ever, and not only miss what was published meanwhile. That the broker tells of
// deleted exchanges is no reason to do without: what happens while the connection that hears it is made again, nobody hears.
func (x *exchanges) heal() {
	budget := max(1, int(healPerSecond*x.src.opts.ProbeInterval.Seconds()))
	if len(x.unhealed) == 0 {
		x.unhealed = x.src.allQueues()
	}
	for budget > 0 && len(x.unhealed) > 0 {
		q := x.unhealed[0]
		x.unhealed = x.unhealed[1:]
		budget -= 1 + q.bindAllAgain()
	}
}

// allQueues returns the queues of the moment.
func (s *Source) allQueues() []*queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*queue, 0, len(s.queues))
	for q := range s.queues {
		all = append(all, q)
	}
	return all
}

// bindAllAgain binds what should be bound, unless somebody else is changing the queue, and returns how much that was.
func (q *queue) bindAllAgain() int {
	select {
	case q.change <- struct{}{}:
	default:
		return 0
	}
	defer func() { <-q.change }()
	inc, err := q.current()
	if err != nil {
		return 0
	}
	q.mu.Lock()
	bindings := make([]broker.Binding, 0, len(q.bounds))
	for _, b := range q.bounds {
		if !b.missing {
			bindings = append(bindings, b.binding)
		}
	}
	q.mu.Unlock()
	for i, b := range bindings {
		err := inc.conn.disposable(func(ch *amqp.Channel) error { return bind(ch, inc.name, b) })
		if err == nil {
			continue
		}
		q.src.log.Debug("cannot bind again", slog.String("stream", q.stream), slog.Any("error", err))
		switch {
		case !channelRefused(err):
			return i
		case replyCode(err) == amqp.PreconditionFailed: // It took the binding, so it is not the exchange that it was.
			q.exchangeGone(b.Exchange())
		}
		// One that is gone the next probe finds. It is no reason to leave out the other bindings.
	}
	return len(bindings)
}
