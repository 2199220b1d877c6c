package rabbitmq

import (
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// laneQueues is how many consumers share a channel.
	laneQueues = 32
	// idleChannels is how many channels for declaring and binding are kept for the next one.
	idleChannels = 16
)

// cancelWhenLost has the broker cancel a consumer whose queue's process has crashed. Without it RabbitMQ starts the queue again,
// empty, and puts the consumer back without a word, so that nobody would learn of what was in it. Whoever publishes can make
// that happen: a message with a header x-death that is none, which expires in the queue, is enough for RabbitMQ 3.10.
var cancelWhenLost = amqp.Table{"x-cancel-on-ha-failover": true}

// lane is a channel that consumes, for one queue or several. Nothing else happens on it: what a client asks for may cost a
// channel, and that would cost the others on it their incarnation.
type lane struct {
	conn   *conn
	ch     *amqp.Channel
	shared bool
	// closed gets the broker's reason when it closes the channel, and is closed when the channel is.
	closed chan *amqp.Error

	members int // the conn's lanes' mu guards it and busy
	busy    int // members that are about to consume

	calls sync.Mutex // serialises calls, as two at once would take each other's answers, and guards cause
	cause *amqp.Error

	ledger ledger
}

// lanes are the channels of a connection.
type lanes struct {
	conn *conn

	mu      sync.Mutex // guards the rest
	solo    int
	shared  []*lane
	opening int
	idle    []*amqp.Channel // for declaring and binding, with nothing else on them
	used    bool            // one was borrowed since trim
}

// join takes a place on a lane.
func (l *lanes) join() (*lane, error) {
	l.mu.Lock()
	solo := l.solo < l.conn.src.opts.SoloQueues
	if solo {
		l.solo++
	} else if shared := l.roomy(); shared != nil {
		shared.members++
		shared.busy++
		l.mu.Unlock()
		return shared, nil
	} else {
		l.opening++
	}
	l.mu.Unlock()

	made, err := l.open(!solo)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && solo:
		l.solo--
	case err != nil:
		l.opening--
	case !solo:
		l.opening--
		l.shared = append(l.shared, made)
	}
	return made, err
}

// roomy returns the shared lane on which least is under way, or nil if a further one is in order: when all are full, or when
// all are busy and there are fewer than there will be. The caller holds mu.
func (l *lanes) roomy() *lane {
	l.shared = slices.DeleteFunc(l.shared, func(x *lane) bool { return x.ch.IsClosed() })
	var best *lane
	for _, x := range l.shared {
		if x.members < laneQueues && (best == nil || x.busy < best.busy) {
			best = x
		}
	}
	if best != nil && best.busy > 0 && len(l.shared)+l.opening < MaxQueuesPerConnection/laneQueues {
		return nil
	}
	return best
}

// open opens a channel to consume on.
func (l *lanes) open(shared bool) (*lane, error) {
	ch, err := l.conn.Channel()
	if err != nil {
		return nil, err
	}
	made := &lane{conn: l.conn, ch: ch, shared: shared, members: 1, busy: 1}
	made.closed = ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Qos(l.conn.src.opts.Prefetch, 0, false); err != nil {
		_ = ch.Close() // Most errors closed it.
		return nil, err
	}
	return made, nil
}

// settled says that a new member consumes, or will not.
func (x *lane) settled() {
	x.conn.lanes.mu.Lock()
	defer x.conn.lanes.mu.Unlock()
	x.busy--
}

func (x *lane) consume(queue, tag string) (<-chan amqp.Delivery, error) {
	x.calls.Lock()
	defer x.calls.Unlock()
	return x.ch.Consume(queue, tag, false, false, false, false, cancelWhenLost)
}

func (x *lane) cancel(tag string) error {
	x.calls.Lock()
	defer x.calls.Unlock()
	return x.ch.Cancel(tag, false)
}

// leave gives a place back. The last one closes the channel, if that is not done.
func (x *lane) leave() {
	l := &x.conn.lanes
	l.mu.Lock()
	x.members--
	last := x.members == 0
	if last && x.shared {
		l.shared = slices.DeleteFunc(l.shared, func(have *lane) bool { return have == x })
	}
	if !x.shared {
		l.solo--
	}
	l.mu.Unlock()
	if last {
		// No ack crosses the close: once the broker has confirmed it, the channel's number is another's.
		x.ledger.mu.Lock()
		x.ledger.over = true
		x.ledger.mu.Unlock()
		_ = x.ch.Close() // An error means that it is closed.
	}
}

// borrow returns a channel on which nothing else happens.
func (l *lanes) borrow() (*amqp.Channel, error) {
	l.mu.Lock()
	l.used = true
	for len(l.idle) > 0 {
		ch := l.idle[len(l.idle)-1]
		l.idle = l.idle[:len(l.idle)-1]
		if !ch.IsClosed() {
			l.mu.Unlock()
			return ch, nil
		}
	}
	l.mu.Unlock()
	return l.conn.Channel()
}

// giveBack keeps a borrowed channel for the next one, or closes it.
func (l *lanes) giveBack(ch *amqp.Channel) {
	if ch.IsClosed() {
		return
	}
	l.mu.Lock()
	keep := len(l.idle) < idleChannels
	if keep {
		l.idle = append(l.idle, ch)
	}
	l.mu.Unlock()
	if !keep {
		_ = ch.Close() // An error means that it is closed.
	}
}

// trim closes the channels that are kept when none was wanted since it was last
// called: a broker that nothing is asked of holds nothing of ours for it.
func (l *lanes) trim() {
	l.mu.Lock()
	var idle []*amqp.Channel
	if !l.used {
		idle, l.idle = l.idle, nil
	}
	l.used = false
	l.mu.Unlock()
	for _, ch := range idle {
		_ = ch.Close() // An error means that it is closed.
	}
}

// disposable runs f on a channel that serves nobody else meanwhile, so that it may die of what f does.
func (c *conn) disposable(f func(*amqp.Channel) error) error {
	ch, err := c.lanes.borrow()
	if err != nil {
		return err
	}
	defer c.lanes.giveBack(ch)
	return f(ch)
}
