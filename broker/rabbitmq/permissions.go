package rabbitmq

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// excess is a permission that the gateway does not need, in words for /readyz and the log.
type excess string

const (
	excessWrite     excess = "the account at the message broker may publish to exchanges that are not the gateway's"
	excessRead      excess = "the account at the message broker may read queues that are not the gateway's"
	excessConfigure excess = "the account at the message broker may declare and delete what is not the gateway's"
)

// permissions knows what the account may do beyond the gateway's needs. Whoever takes over a gateway can do all that its
// account can, so that the account is worth a look; but it is the operator's, and the gateway works all the same.
type permissions struct {
	mu     sync.Mutex // guards the rest
	known  bool
	excess []excess
}

// found replaces what is known, and reports whether that is news.
func (p *permissions) found(excesses []excess) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := !p.known || !slices.Equal(p.excess, excesses)
	p.known, p.excess = true, excesses
	return news
}

// reasons are for Health.
func (p *permissions) reasons() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]string, len(p.excess))
	for i, e := range p.excess {
		out[i] = string(e)
	}
	return out
}

// probePermissions looks for what the account may do and need not. The broker checks permissions before it looks whether
// there is what they are for (rabbit_channel), so names that nobody has tell them apart: ACCESS_REFUSED or anything else.
// Nothing is changed, wherever the answer is yes. It blocks for some ten round trips.
func (s *Source) probePermissions(conn *amqp.Connection) {
	name := "probe." + rand.Text()
	write := func(exchange string) func(*amqp.Channel) error {
		// Taking away a binding that is not there does nothing; it needs permission to write to its destination, and
		// unlike publishing it reaches nobody where there is such an exchange.
		return func(ch *amqp.Channel) error { return ch.ExchangeUnbind(exchange, name, exchange, false, nil) }
	}
	probes := []struct {
		excess excess
		probe  func(*amqp.Channel) error
	}{
		{excessWrite, write(name)},
		{excessWrite, write("amq.topic")},
		{excessWrite, func(ch *amqp.Channel) error { return publishToNobody(ch, name) }},
		{excessRead, func(ch *amqp.Channel) error { _, _, err := ch.Get(name, false); return err }},
		{excessConfigure, func(ch *amqp.Channel) error { _, err := ch.QueueDelete(name, true, true, false); return err }},
		{excessConfigure, func(ch *amqp.Channel) error { return ch.ExchangeDelete(name, true, false) }},
	}
	var found []excess
	for _, p := range probes {
		allowed, err := permitted(conn, p.probe)
		if err != nil {
			s.log.Debug("cannot find out what the account may do", slog.Any("error", err))
			return
		}
		if allowed && !slices.Contains(found, p.excess) {
			found = append(found, p.excess)
		}
	}
	if !s.permissions.found(found) {
		return
	}
	for _, e := range found {
		s.log.Warn("the broker account may do more than the gateway needs", slog.String("permission", string(e)))
	}
	if len(found) == 0 {
		s.log.Info("the broker account may do no more than the gateway needs")
	}
}

// permitted tries on a channel of its own, since a refusal closes it. The error is of a connection that does not serve.
func permitted(conn *amqp.Connection, try func(*amqp.Channel) error) (bool, error) {
	ch, err := conn.Channel()
	if err != nil {
		return false, err
	}
	err = try(ch)
	switch {
	case err == nil:
		return true, ch.Close()
	case replyCode(err) == amqp.AccessRefused:
		return false, nil
	case channelRefused(err):
		return true, nil
	}
	_ = ch.Close()
	return false, err
}

// publishToNobody publishes to the default exchange, which every queue is bound to by its name, for a queue that is not there.
func publishToNobody(ch *amqp.Channel, name string) error {
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirm, err := ch.PublishWithDeferredConfirm("", name, false, false, amqp.Publishing{DeliveryMode: amqp.Transient})
	if err != nil {
		return err
	}
	if confirm.Wait() {
		return nil
	}
	select { // a channel that closes says why before it gives up its confirms
	case reason, ok := <-closed:
		if ok {
			return reason
		}
	default:
	}
	return errors.New("the broker did not take a message")
}
