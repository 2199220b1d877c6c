package rabbitmq

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// flood publishes without waiting for each confirm, then waits for the last.
func (p *publisher) flood(exchange, key string, n int, body []byte) {
	p.t.Helper()
	for range n {
		if _, err := p.ch.PublishWithDeferredConfirm(exchange, key, false, false, amqp.Publishing{Body: body}); err != nil {
			p.t.Fatal(err)
		}
	}
	p.publish(exchange, "nobody.listens", amqp.Publishing{})
}

func TestWhatTheBrokerDropsIsCountedExactlyAndItsBeginIsKnown(t *testing.T) {
	const length, prefetch, published = 100, 20, 1500
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	s := newSource(t, url, func(o *Options) { o.QueueMaxLength, o.Prefetch = length, prefetch })
	q := open(t, s, binding(t, "events", "k"))
	fine := open(t, s, binding(t, "events", "other"))
	// Two markers have arrived, so that the begin is not that of the connection.
	begun := s.canary.lastConfirmed()
	for range 3 {
		last := s.canary.lastConfirmed()
		eventually(t, "the canary sings", func() bool { return s.canary.lastConfirmed().After(last) })
	}

	before := time.Now()
	pub.flood("events", "k", published, []byte("x"))
	after := time.Now()
	var lastTag uint64
	for range prefetch {
		lastTag = next[*broker.Delivery](t, q).Tag
	}
	e := next[*broker.Overflow](t, q)
	if e.Missed != published-prefetch-length {
		t.Errorf("missed is %d, want %d", e.Missed, published-prefetch-length)
	}
	if e.Since.After(after) || e.Since.Before(begun) {
		t.Errorf("since is %v before the first message, %v before the last", before.Sub(e.Since), after.Sub(e.Since))
	}
	for range length {
		q.Ack(lastTag)
		lastTag = next[*broker.Delivery](t, q).Tag
	}
	q.Ack(lastTag)
	pub.text("events", "k", "end")
	wantBody(t, q, "end")
	pub.text("events", "other", "fine")
	wantBody(t, fine, "fine")
	if n := s.Stats().DeadLettered; n != uint64(e.Missed) {
		t.Errorf("%d dead letters", n)
	}
}

func TestMessagesThatExpireAreCountedToo(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	s := newSource(t, url, func(o *Options) { o.Prefetch, o.QueueTTL = 5, 200*time.Millisecond })
	q := open(t, s, binding(t, "events", "k"))
	pub.flood("events", "k", 30, nil)
	for range 5 {
		next[*broker.Delivery](t, q)
	}
	if e := next[*broker.Overflow](t, q); e.Missed != 25 {
		t.Errorf("missed is %d", e.Missed)
	}
}

func TestCountIsUnknownWhenEvenTheDeadLettersOverflow(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	proxy := newProxy(t, url)
	// No further marker, so that it is the overflow which is noticed.
	s := newSource(t, proxy.url, func(o *Options) {
		o.QueueMaxLength, o.Prefetch, o.CanaryInterval = 10, 5, time.Hour
		o.Heartbeat = time.Minute // on a busy machine the flood takes longer than two of the usual ones
	})
	q := open(t, s, binding(t, "events", "k"))
	other := open(t, s, binding(t, "events", "other"))
	stop := proxy.stall()
	const flood = deadLetterMaxLength + 10_000
	pub.flood("events", "k", flood, bytes.Repeat([]byte("x"), 1500))
	stop()
	for range 5 {
		next[*broker.Delivery](t, q)
	}
	const dropped = flood - 10 - 5
	missed := int64(0)
	for missed < dropped { // From 4.3 on RabbitMQ keeps all dead letters for a consumer that stands still.
		e := next[*broker.Overflow](t, q)
		if e.Missed == unknown {
			if e := next[*broker.Overflow](t, other); e.Missed != unknown {
				t.Errorf("missed is %d", e.Missed)
			}
			return
		}
		missed += e.Missed
	}
	if missed != dropped {
		t.Errorf("missed is %d", missed)
	}
}

func TestDeadLettersAreCountedAgainAfterTheirExchangeWasDeleted(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	s := newSource(t, url, func(o *Options) { o.QueueMaxLength, o.Prefetch = 10, 5 })
	q := open(t, s, binding(t, "events", "k"))
	pub.remove(internals(t, q).conn.dead.name)
	if e := next[*broker.Overflow](t, q); e.Missed != unknown {
		t.Fatalf("missed is %d", e.Missed)
	}
	pub.flood("events", "k", 100, nil)
	for range 5 {
		next[*broker.Delivery](t, q)
	}
	if e := next[*broker.Overflow](t, q); e.Missed != 85 {
		t.Errorf("missed is %d", e.Missed)
	}
}

func TestDeadLettersAreCountedAgainAfterOneOfTheirQueuesWasLost(t *testing.T) {
	for name, lose := range map[string]func(t testing.TB, address, name string){"Deleted": deleteQueue, "Killed": killQueue} {
		for _, suffix := range []string{"", ".lost"} {
			t.Run(name+suffix, func(t *testing.T) {
				url := rabbittest.VHost(t)
				pub := newPublisher(t, url)
				pub.declare("events", "topic")
				// Not two markers, so that the begin is that of the counting.
				s := newSource(t, url, func(o *Options) { o.QueueMaxLength, o.Prefetch, o.CanaryInterval = 10, 5, time.Hour })
				q := open(t, s, binding(t, "events", "k"))
				before := time.Now()
				lose(t, url, internals(t, q).conn.dead.name+suffix)
				if e := next[*broker.Overflow](t, q); e.Missed != unknown || e.Since.After(before) {
					t.Fatalf("missed is %d, since %v after what may be missing", e.Missed, e.Since.Sub(before))
				}
				pub.flood("events", "k", 100, nil)
				for range 5 {
					next[*broker.Delivery](t, q)
				}
				if e := next[*broker.Overflow](t, q); e.Missed != 85 {
					t.Errorf("missed is %d", e.Missed)
				}
			})
		}
	}
}

func TestMarkersAreOfTheMonotonicClock(t *testing.T) {
	var c canary
	c.init(nil)
	now := time.Now()
	sent, ok := c.sentAt(c.messageID(now))
	if !ok || sent.Sub(now) != 0 || sent == sent.Round(0) { //nolint:staticcheck // Round takes the monotonic time off, which Equal does not see
		t.Errorf("a marker sent at %v is read as of %v, %v", now, sent, ok)
	}
	for _, id := range []string{"", c.token, c.token + ".", c.token + ".x", "other.1"} {
		if sent, ok := c.sentAt(id); ok {
			t.Errorf("%q is read as of %v", id, sent)
		}
	}
}

// TestABurstThatTheConnectionEndsIsToldAtOnce has a dead letter come of a queue that is lost, just before its connection is: it
// was lost already, or what it was told of its loss crossed the letter. Nobody else would end the burst then.
func TestABurstThatTheConnectionEndsIsToldAtOnce(t *testing.T) {
	s := &Source{opts: Options{RecoverDelay: time.Hour, MaxRecoverDelay: time.Hour}}
	c := &conn{
		link: &link{Connection: &amqp.Connection{}}, src: s, gone: make(chan struct{}),
		owners: make(map[uint64]owner), byQ: make(map[*queue]uint64),
	}
	c.dead.init(c)
	q := newQueue(s, broker.QueueSpec{Stream: "s"})
	inbox := brokertest.NewInbox(q)
	letters := make(chan amqp.Delivery, 1)
	letters <- amqp.Delivery{RoutingKey: c.dead.keyOf(c.numberOf(q))}
	close(letters)
	close(c.gone)
	c.dead.letters = letters
	c.dead.run()
	select {
	case e := <-inbox.Events():
		if o, ok := e.(*broker.Overflow); !ok || o.Missed != unknown {
			t.Errorf("got %T %+v", e, e)
		}
	default:
		t.Error("nobody is told")
	}
	if q.burst.active {
		t.Error("the burst goes on")
	}
}

func TestNothingIsLeftAtTheBrokerAfterClose(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url)
	open(t, s, binding(t, "amq.topic", "#"))
	if err := s.Close(contextOf(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no queue and no exchange is left", func() bool {
		exchanges := rabbittest.Eval(t, fmt.Sprintf(`length([X || X <- rabbit_exchange:list(<<"%s">>), string:prefix(element(4, element(2, X)), "warren.") =/= nomatch])`, vhostOf(t, url)))
		return exchanges == "0" && len(queueNames(t, url, "")) == 0
	})
}

// TestPolicyOfTheOperatorMovesNothingOfTheGateways has a policy that gives all queues a dead letter exchange.
func TestPolicyOfTheOperatorMovesNothingOfTheGateways(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("operators", "topic")
	all, err := pub.ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.ch.QueueBind(all.Name, "#", "operators", false, nil); err != nil {
		t.Fatal(err)
	}
	rabbittest.Eval(t, fmt.Sprintf(`ok = rabbit_policy:set(<<"%s">>, <<"all">>, <<".*">>, [{<<"dead-letter-exchange">>, <<"operators">>}], 0, <<"queues">>, <<"test">>)`,
		vhostOf(t, url)))
	s := newSource(t, url, func(o *Options) { o.QueueMaxLength, o.Prefetch, o.CanaryInterval = 1, 1, 20*time.Millisecond })
	q := open(t, s, binding(t, "amq.topic", "k"))
	pub.flood("amq.topic", "k", 5, nil)
	next[*broker.Delivery](t, q)
	if e := next[*broker.Overflow](t, q); e.Missed != 3 {
		t.Errorf("missed is %d", e.Missed)
	}
	begun := s.canary.lastConfirmed()
	eventually(t, "the canary sings", func() bool { return s.canary.lastConfirmed().Sub(begun) > 10*s.opts.CanaryInterval })
	if got, err := pub.ch.QueueDeclarePassive(all.Name, false, false, true, false, nil); err != nil || got.Messages > 0 {
		t.Errorf("%d messages of the gateway's are in the operator's exchange, %v", got.Messages, err)
	}
}

// TestEveryQueueHasADeadLetterExchangeOfTheGateways: see helperArguments.
func TestEveryQueueHasADeadLetterExchangeOfTheGateways(t *testing.T) {
	node := rabbittest.Private(t) // whose broker tells of exchanges
	s := newSource(t, node.URL())
	open(t, s, binding(t, "amq.topic", "k"))
	eventually(t, "all five have one", func() bool {
		out, err := node.Ctl(contextOf(t), "-q", "list_queues", "name", "arguments")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "warren."+s.opts.Node) && strings.Contains(line, `"x-dead-letter-exchange"`) && strings.Contains(line, `"warren.`+s.opts.Node) {
				n++
			}
		}
		return n == 5 // the subscription's, two of dead letters, the canary's, that of events
	})
}
