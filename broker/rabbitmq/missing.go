package rabbitmq

import (
	"crypto/rand"
	"log/slog"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// exchangeGone marks the bindings to an exchange as missing.
func (q *queue) exchangeGone(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string
	for _, b := range q.bounds {
		if b.binding.Exchange() != name {
			continue
		}
		if q.inc.Load() == nil {
			b.lost = true // what is under way may have been bound before
			continue
		}
		if b.missing {
			b.lost = true // who is binding it again may have done so before
			continue
		}
		b.missing = true
		ids = append(ids, b.binding.ID())
	}
	if ids != nil {
		q.post(&broker.BindingsLost{IDs: ids})
	}
}

// misses reports whether a binding to the exchange is missing.
func (q *queue) misses(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inc.Load() != nil && slices.ContainsFunc(q.bounds, func(b *bound) bool { return b.missing && b.binding.Exchange() == name })
}

// exchangeBack binds what is missing of an exchange.
func (q *queue) exchangeBack(name string) {
	select {
	case q.change <- struct{}{}:
	default:
		// A request or a rebuild is at it. The latter finds the exchange itself; for the sake of the former, soon again.
		q.src.spawn(func() {
			if q.src.sleep(burstTick) && q.misses(name) {
				q.src.exchanges.probeSoon(name)
			}
		})
		return
	}
	defer func() { <-q.change }()
	inc, err := q.current()
	if err != nil {
		return
	}
	q.mu.Lock()
	var missing []*bound
	for _, b := range q.bounds {
		if b.missing && b.binding.Exchange() == name {
			b.lost = false
			missing = append(missing, b)
		}
	}
	q.mu.Unlock()
	var back []string
	for _, b := range missing {
		if err := inc.conn.bindAfresh(inc.name, b.binding); err != nil {
			q.src.log.Debug("binding is still missing", slog.String("stream", q.stream), slog.Any("error", err))
			continue
		}
		back = append(back, b.binding.ID())
	}
	q.foundAgain(inc, back)
}

// bindAfresh binds what is missing. RabbitMQ 4.3 keeps a binding that was made while its exchange was being deleted: when that is
// made again, it routes nothing by it, and takes another bind for done. So it is unbound first. But it may be there after all, where
// the deletion was heard of late, and an exchange that is auto-delete goes with its last binding: one more, which matches nothing
// else, keeps it meanwhile.
func (c *conn) bindAfresh(queue string, b broker.Binding) error {
	keeper := arguments(b.Arguments())
	if keeper == nil {
		keeper = amqp.Table{}
	}
	keeper[rand.Text()] = nil
	release := func(ch *amqp.Channel) error { return ch.QueueUnbind(queue, b.RoutingKey(), b.Exchange(), keeper) }
	kept := false
	err := c.disposable(func(ch *amqp.Channel) error {
		if err := ch.QueueBind(queue, b.RoutingKey(), b.Exchange(), false, keeper); err != nil {
			return err
		}
		kept = true
		if err := unbind(ch, queue, b); err != nil {
			return err
		}
		if err := bind(ch, queue, b); err != nil {
			return err
		}
		return release(ch)
	})
	if err != nil && kept && replyCode(err) != amqp.NotFound {
		_ = c.disposable(release) // An error means that the connection is gone, and the queue with it.
	}
	return err
}

// foundAgain says that missing bindings have been bound again, but for those whose exchange was deleted meanwhile once more.
func (q *queue) foundAgain(inc *incarnation, ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(ids) == 0 || q.inc.Load() != inc {
		return // When the incarnation was lost meanwhile, the rebuild that follows binds and tells.
	}
	var told []string
	for _, b := range q.bounds {
		switch {
		case !slices.Contains(ids, b.binding.ID()):
		case b.lost:
			b.lost = false
			q.src.exchanges.probeSoon(b.binding.Exchange())
		default:
			b.missing = false
			told = append(told, b.binding.ID())
		}
	}
	if told != nil {
		slices.Sort(told)
		q.post(&broker.BindingsBack{IDs: told})
	}
}
