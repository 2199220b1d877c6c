package rabbitmq

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

const (
	// The bounds of a connection's queue of dead letters, which is drained at once and holds something only while the gateway
	// stands still.
	deadLetterMaxLength = 20_000
	deadLetterMaxBytes  = 64 << 20

	// burstTick is how often bursts of dead letters are looked at; after quietTicks without one it is over. Ticks do not
	// come while the process is stopped, so that a burst is not over before what came with it has been read.
	burstTick  = 200 * time.Millisecond
	quietTicks = 5
	// longTicks end a burst that does not become quiet, or nobody would learn of it.
	longTicks = 50

	// markerAge is how long ago a marker must have arrived to be older than the loss of dead letters, which another queue tells.
	markerAge = 2 * time.Second
	// markersKept bounds the memory of markers.
	markersKept = 64

	// deafAfter is how many intervals of the canary a connection may lag behind what was confirmed, when nothing has come for
	// silentTicks.
	deafAfter   = 3
	silentTicks = 10

	canaryKey = "canary"
)

// unknown is the count of an Overflow when even the count was lost.
const unknown int64 = -1

// deadLetters counts what the broker dropped from a connection's queues.
type deadLetters struct {
	conn *conn
	// name is of the exchange that the connection's queues dead-letter to, and of the queue that is bound to it. It is random: a
	// publisher who knew it could make the broker see a cycle. And it never comes back: an exchange that is made while the broker
	// deletes one of the same name can be beyond use for good (RabbitMQ 4.3).
	name     string
	since    time.Time // since when it counts
	source   string    // the canary's exchange, from which markers come; only run uses it and the next two, after prepare
	wanted   string    // the same, or the one that could not be bound yet
	followed time.Time // since when
	ch       *amqp.Channel
	letters  <-chan amqp.Delivery
	signals  <-chan amqp.Delivery
	markers  []marker // in the order of their arrival; only run uses it
	bursts   map[*queue]struct{}
	silent   int // ticks since something arrived
}

// marker is a message of the canary.
type marker struct{ sent, arrived time.Time }

func (d *deadLetters) init(c *conn) {
	d.conn = c
	d.name = "warren." + c.src.opts.Node + ".dead." + c.id
	d.bursts = make(map[*queue]struct{})
}

// keyOf is the routing key of the dead letters of a queue.
func (d *deadLetters) keyOf(number uint64) string {
	return "dead." + d.conn.id + "." + strconv.FormatUint(number, 10)
}

// prepare declares the exchange and the two queues, and consumes from these. The second queue holds at most one
// message, which says that the first one overflowed. Nobody acknowledges: what is lost with the channel is lost anyway.
func (d *deadLetters) prepare() error {
	ch, err := d.conn.Channel()
	if err != nil {
		return err
	}
	d.ch, d.source = ch, ""
	if err := declareExchange(ch, d.name); err != nil {
		return err
	}
	lostKey := "lost." + d.conn.id
	queues := []struct {
		name string
		keys []string
		args amqp.Table
		out  *<-chan amqp.Delivery
	}{
		{
			name: d.name,
			keys: []string{"dead." + d.conn.id + ".*", canaryKey},
			args: amqp.Table{
				"x-queue-type": "classic", "x-overflow": "drop-head",
				"x-max-length": int64(deadLetterMaxLength), "x-max-length-bytes": int64(deadLetterMaxBytes),
				"x-dead-letter-exchange": d.name, "x-dead-letter-routing-key": lostKey,
			},
			out: &d.letters,
		},
		{
			name: d.name + ".lost",
			keys: []string{lostKey},
			args: d.conn.src.helperArguments(1),
			out:  &d.signals,
		},
	}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q.name, false, false, true, false, q.args); err != nil {
			return err
		}
		for _, key := range q.keys {
			if err := ch.QueueBind(q.name, key, d.name, false, nil); err != nil {
				return err
			}
		}
		if *q.out, err = ch.Consume(q.name, q.name, true, false, false, false, cancelWhenLost); err != nil {
			return err
		}
	}
	return nil
}

// follow has markers come from the canary's exchange, which is another one after each loss of its connection.
func (d *deadLetters) follow() {
	source := d.conn.src.canary.source()
	if source == "" || source == d.source || d.ch.IsClosed() {
		return
	}
	if source != d.wanted {
		d.wanted, d.followed = source, time.Now()
	}
	before := d.source
	err := d.conn.disposable(func(ch *amqp.Channel) error { return ch.ExchangeBind(d.name, canaryKey, source, false, nil) })
	if err != nil {
		d.conn.src.log.Debug("no markers yet", slog.Int("connection", d.conn.number), slog.Any("error", err))
		return // Where the canary's is gone, there will be another one soon.
	}
	d.source, d.followed = source, time.Now()
	if before != "" { // The old one stays for as long as it is bound. An error means that it is gone.
		_ = d.conn.disposable(func(ch *amqp.Channel) error { return ch.ExchangeUnbind(d.name, canaryKey, before, false, nil) })
	}
}

// declareExchange declares an exchange of the gateway's own. It goes with the last queue or exchange that is bound to it, so
// that no gateway leaves one behind, whatever its end.
func declareExchange(ch *amqp.Channel, name string) error {
	return ch.ExchangeDeclare(name, amqp.ExchangeTopic, false, true, false, false, nil)
}

// helperArguments are those of a queue of the gateway's own, of which nobody counts what it drops. That goes to an exchange
// which does not exist: a policy of the operator's that names another for all queues would put it there, with the canary's
// token, but what a queue was declared with outranks policies.
func (s *Source) helperArguments(length int64) amqp.Table {
	return amqp.Table{
		"x-queue-type": "classic", "x-overflow": "drop-head", "x-max-length": length,
		"x-dead-letter-exchange": "warren." + s.opts.Node + ".nowhere",
	}
}

// run counts until the connection is gone.
func (d *deadLetters) run() {
	defer d.giveUp()
	ticker := time.NewTicker(burstTick)
	defer ticker.Stop()
	for {
		select {
		case letter, ok := <-d.letters:
			if ok {
				d.letter(&letter)
			} else if !d.again() {
				return
			}
		case _, ok := <-d.signals:
			if ok {
				d.countsLost()
			} else if !d.again() {
				return
			}
		case <-ticker.C:
			d.tick()
		}
	}
}

// giveUp ends the bursts that nobody will look at any more. What was still to be counted is gone with the connection.
func (d *deadLetters) giveUp() {
	for q := range d.bursts {
		q.mu.Lock()
		q.endBurst(unknown)
		q.mu.Unlock()
	}
}

// tick looks whether bursts are over, and whether anything arrives at all.
func (d *deadLetters) tick() {
	confirmed := d.conn.src.canary.lastConfirmed() // before follow, which so knows where that came from
	d.follow()
	for q := range d.bursts {
		if q.tickBurst() {
			delete(d.bursts, q)
		}
	}
	if d.silent++; d.deaf(confirmed) {
		_ = d.ch.Close() // letters and signals end, which begins again
	}
}

// deaf reports whether markers that the broker has routed do not arrive: somebody has deleted the exchange or a binding to it,
// and dead letters do not arrive either. confirmed is when the last was sent that was routed.
func (d *deadLetters) deaf(confirmed time.Time) bool {
	if d.silent < silentTicks || d.ch.IsClosed() {
		return false // markers may still be behind what comes
	}
	last := later(d.since, d.followed)
	if n := len(d.markers); n > 0 {
		last = later(last, d.markers[n-1].sent)
	}
	return confirmed.Sub(last) > deafAfter*d.conn.src.opts.CanaryInterval
}

// again consumes anew when the channel or one of the queues was lost and the connection was not; what came meanwhile is lost.
func (d *deadLetters) again() bool {
	for attempt := 0; ; attempt++ {
		if d.conn.IsClosed() || !wait(d.conn.gone, d.conn.src.backoff(attempt)) {
			return false
		}
		// Where one of two queues was lost the other still has its consumer, which would get half of what is for the new one.
		_ = d.ch.Close() // An error means that it is closed.
		err := d.prepare()
		if err == nil {
			d.conn.src.log.Warn("dead letters could not be counted for a while", slog.Int("connection", d.conn.number))
			d.countsLost()
			d.since = time.Now() // and not before, or the loss would begin only now
			return true
		}
		d.conn.src.log.Warn("cannot count dead letters", slog.Int("connection", d.conn.number), slog.Any("error", err))
	}
}

func (d *deadLetters) letter(l *amqp.Delivery) {
	d.silent = 0
	if l.RoutingKey == canaryKey {
		if sent, ok := d.conn.src.canary.sentAt(l.MessageId); ok {
			d.markers = append(d.markers, marker{sent: sent, arrived: time.Now()})
			d.markers = d.markers[max(0, len(d.markers)-markersKept):]
		}
		return
	}
	number, err := strconv.ParseUint(l.RoutingKey[strings.LastIndexByte(l.RoutingKey, '.')+1:], 10, 64)
	if err != nil {
		return
	}
	if owner, ok := d.conn.ownerOf(number); ok {
		d.conn.src.stats.deadLetters.add()
		d.bursts[owner.q] = struct{}{}
		owner.q.deadLetter(1, later(owner.since, d.begin(len(d.markers))))
	}
}

// countsLost says that dead letters of any of the connection's queues were dropped. The signal does not come in the order of
// the markers, so only those count that have been here for a while.
func (d *deadLetters) countsLost() {
	n := len(d.markers)
	for n > 0 && time.Since(d.markers[n-1].arrived) < markerAge {
		n--
	}
	begin := d.begin(n)
	for _, owner := range d.conn.allOwners() {
		d.bursts[owner.q] = struct{}{}
		owner.q.deadLetter(unknown, later(owner.since, begin))
	}
}

// begin returns a time before the first dead letter that came in after the n-th marker was dropped by its queue. One marker
// back, because a message is dropped a little before its dead letter comes in.
func (d *deadLetters) begin(n int) time.Time {
	if n < 2 {
		return d.since
	}
	return d.markers[n-2].sent
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// burst is a run of dead letters of one queue.
type burst struct {
	active bool
	missed int64
	since  time.Time
	quiet  int // ticks without another
	age    int // ticks
}

// deadLetter adds to the queue's burst, or begins one.
func (q *queue) deadLetter(missed int64, since time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := &q.burst
	if !b.active {
		*b = burst{active: true, since: since}
	}
	b.quiet = 0
	switch {
	case missed == unknown || b.missed == unknown:
		b.missed = unknown
	default:
		b.missed += missed
	}
	if since.Before(b.since) {
		b.since = since
	}
}

// tickBurst reports whether the burst is over.
func (q *queue) tickBurst() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.burst.quiet++
	q.burst.age++
	if q.burst.quiet <= quietTicks && q.burst.age < longTicks {
		return false
	}
	q.endBurst(q.burst.missed)
	return true
}

// endBurst tells the core of a burst, if there is one. The caller holds mu.
func (q *queue) endBurst(missed int64) {
	if q.burst.active {
		q.post(&broker.Overflow{Missed: missed, Since: q.burst.since})
		q.burst = burst{}
	}
}
