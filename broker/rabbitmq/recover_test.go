package rabbitmq

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// recovered expects the queue to be lost and made again, after what was delivered before.
func recovered(t *testing.T, q *brokertest.Inbox, reason broker.GapReason, missing ...broker.Binding) {
	t.Helper()
	for {
		switch e := receive(t, q).(type) {
		case *broker.Delivery:
			q.Ack(e.Tag)
			continue
		case *broker.Recovering:
		default:
			t.Fatalf("got %T, want *broker.Recovering", e)
		}
		break
	}
	e := next[*broker.Recovered](t, q)
	if e.Reason != reason {
		t.Fatalf("got reason %s, want %s", e.Reason, reason)
	}
	wantIDs(t, e.Missing, missing...)
}

// loss is something that costs a queue its incarnation.
type loss struct {
	name   string
	reason broker.GapReason
	do     func(t *testing.T, url string, q *brokertest.Inbox)
}

func TestEveryLossOfAQueueEndsInOneNewIncarnation(t *testing.T) {
	for _, l := range []loss{
		{"ConnectionClosedByBroker", broker.GapBrokerReconnected, func(t *testing.T, url string, _ *brokertest.Inbox) {
			t.Helper()
			closeConnections(t, url)
		}},
		{"SocketCut", broker.GapBrokerReconnected, func(t *testing.T, _ string, q *brokertest.Inbox) {
			t.Helper()
			_ = internals(t, q).conn.wire.Close()
		}},
		{"ChannelClosedByBroker", broker.GapQueueLost, func(t *testing.T, _ string, q *brokertest.Inbox) {
			t.Helper()
			if err := internals(t, q).lane.ch.Ack(1<<40, false); err != nil {
				t.Fatal(err)
			}
		}},
		{"QueueDeleted", broker.GapQueueLost, func(t *testing.T, url string, q *brokertest.Inbox) {
			t.Helper()
			deleteQueue(t, url, internals(t, q).name)
		}},
		{"QueueProcessKilled", broker.GapQueueLost, func(t *testing.T, url string, q *brokertest.Inbox) {
			t.Helper()
			killQueue(t, url, internals(t, q).name)
		}},
		{"MessageRedelivered", broker.GapQueueLost, func(t *testing.T, url string, q *brokertest.Inbox) {
			t.Helper()
			newPublisher(t, url).text("events", "k", "unacknowledged")
			next[*broker.Delivery](t, q)
			inc := internals(t, q)
			inc.lane.ledger.mu.Lock()
			tag := inc.delivered.Load() // on a channel of its own
			if inc.lane.shared {
				tag = inc.tags[tag%uint64(len(inc.tags))]
			}
			inc.lane.ledger.mu.Unlock()
			if err := inc.lane.ch.Nack(tag, false, true); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(l.name, func(t *testing.T) { l.test(t, 1000) })
		t.Run(l.name+"OnSharedChannel", func(t *testing.T) { l.test(t, -1) })
	}
}

func (l loss) test(t *testing.T, solo int) {
	t.Helper()
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	s := newSource(t, url, func(o *Options) { o.SoloQueues = solo })
	q := open(t, s, binding(t, "events", "k"), binding(t, "events", "l"))
	other := open(t, s, binding(t, "events", "k"))
	pub.text("events", "k", "before")
	first := next[*broker.Delivery](t, q)
	q.Ack(first.Tag)
	wantBody(t, other, "before")

	l.do(t, url, q)
	recovered(t, q, l.reason)
	if l.reason == broker.GapBrokerReconnected {
		pub = newPublisher(t, url)
	}
	if l.reason == broker.GapBrokerReconnected || l.name == "ChannelClosedByBroker" && solo < 0 {
		recovered(t, other, l.reason)
	}
	pub.try("events", "l", publishing("after")) // the lost queue may be deleted just then, which is a nack
	d := next[*broker.Delivery](t, q)
	if string(d.Body) != "after" || d.Tag <= first.Tag {
		t.Fatalf("got %q with tag %d after tag %d", d.Body, d.Tag, first.Tag)
	}
	q.Ack(first.Tag) // of an incarnation that is gone
	q.Ack(d.Tag)
	pub.text("events", "k", "last")
	wantBody(t, q, "last")
	if got := body(t, other); got != "last" { // The loss by redelivery has published one more.
		wantBody(t, other, "last")
	}
	eventually(t, "only the two living queues are left", func() bool { return len(subscriptionQueues(t, url)) == 2 })
}

// TestKilledQueueIsNotInTheWayOfTheNewOne: the broker starts it again, and where queues are limited there may be room for one.
func TestKilledQueueIsNotInTheWayOfTheNewOne(t *testing.T) {
	url := rabbittest.VHost(t)
	newPublisher(t, url).declare("events", "topic")
	s := newSource(t, url)
	q := open(t, s, binding(t, "events", "k"))
	eventually(t, "the canary sings", func() bool { return !s.canary.lastConfirmed().IsZero() })
	rabbittest.Ctl(t, "-q", "set_vhost_limits", "-p", vhostOf(t, url), fmt.Sprintf(`{"max-queues": %d}`, len(queueNames(t, url, ""))))
	killQueue(t, url, internals(t, q).name)
	recovered(t, q, broker.GapQueueLost)
	newPublisher(t, url).text("events", "k", "after")
	wantBody(t, q, "after")
}

func TestQueueIsClosedWhileTheBrokerIsAway(t *testing.T) {
	node := rabbittest.Private(t)
	s := newSource(t, node.URL())
	pub := newPublisher(t, node.URL())
	pub.declare("events", "topic")
	q := open(t, s, binding(t, "events", "#"))
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	next[*broker.Recovering](t, q)
	eventually(t, "health says that there is no broker", func() bool { return !s.Health().Ready })
	_, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: "s"})
	wantCode(t, err, broker.CodeBrokerUnavailable, -1)
	wantCode(t, q.Bind(t.Context(), []broker.Binding{binding(t, "events", "x")}), broker.CodeBrokerUnavailable, -1)
	closeQueue(t, q)
}

func TestRestartOfTheBrokerLosesNothingButTheGap(t *testing.T) {
	node := rabbittest.Private(t)
	s := newSource(t, node.URL())
	pub := newPublisher(t, node.URL())
	if err := pub.ch.ExchangeDeclare("lasting", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	pub.declare("passing", "topic")
	lasting, passing := binding(t, "lasting", "#"), binding(t, "passing", "#")
	queues := make([]*brokertest.Inbox, 50)
	for i := range queues {
		queues[i] = open(t, s, lasting, passing)
	}
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		next[*broker.Recovering](t, q)
	}
	if err := node.Restart(contextOf(t)); err != nil {
		t.Fatal(err)
	}
	kept := false // From 4.2 on, with Khepri, RabbitMQ keeps exchanges that are not durable, too.
	for _, q := range queues {
		e := next[*broker.Recovered](t, q)
		if e.Reason != broker.GapBrokerReconnected {
			t.Fatalf("got reason %s", e.Reason)
		}
		if kept = len(e.Missing) == 0; !kept {
			wantIDs(t, e.Missing, passing)
		}
	}
	pub = newPublisher(t, node.URL())
	pub.text("lasting", "a", "one")
	for _, q := range queues {
		wantBody(t, q, "one")
	}
	pub.declare("passing", "topic")
	for _, q := range queues {
		if !kept {
			wantIDs(t, next[*broker.BindingsBack](t, q).IDs, passing)
		}
	}
	pub.text("passing", "a", "two")
	for _, q := range queues {
		wantBody(t, q, "two")
	}
}

func TestSourceStartsWithoutABroker(t *testing.T) {
	node := rabbittest.Private(t)
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	s := newSource(t, node.URL())
	_, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: "s"})
	wantCode(t, err, broker.CodeBrokerUnavailable, -1)
	if h := s.Health(); h.Ready || len(h.Reasons) == 0 {
		t.Fatalf("health is %+v", h)
	}
	if err := node.Restart(contextOf(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the source is ready", func() bool { h := s.Health(); return h.Ready && !h.Overloaded && h.RoundTrip > 0 })
	open(t, s, binding(t, "amq.topic", "#"))
}

func TestBrokerThatStandsStillIsNoticed(t *testing.T) {
	node := rabbittest.Private(t)
	s := newSource(t, node.URL(), func(o *Options) {
		o.Heartbeat = time.Second
		o.SlowRoundTrip = 500 * time.Millisecond
		o.DialTimeout = time.Second
		o.OperationTimeout = 2 * time.Second
	})
	q := open(t, s, binding(t, "amq.topic", "#"))
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the round trip is slow", func() bool { h := s.Health(); return h.Overloaded || !h.Ready })
	next[*broker.Recovering](t, q)
	_, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: "s"})
	if code := broker.CodeOf(err); code != broker.CodeBrokerUnavailable && code != broker.CodeBrokerTimeout {
		t.Fatalf("got %v", err)
	}
	if err := node.Continue(); err != nil {
		t.Fatal(err)
	}
	if e := next[*broker.Recovered](t, q); e.Reason != broker.GapBrokerReconnected {
		t.Fatalf("got %+v", e)
	}
	newPublisher(t, node.URL()).text("amq.topic", "a", "after")
	wantBody(t, q, "after")
}

func TestSourceIsClosedWhileTheBrokerStandsStill(t *testing.T) {
	node := rabbittest.Private(t)
	s := newSource(t, node.URL())
	q := open(t, s, binding(t, "amq.topic", "#"))
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := s.Close(contextOf(t)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 3*closeWithin {
		t.Errorf("it took %v", took)
	}
	closeQueue(t, q)
	for range q.Events() { // What comes after Close, the Inbox reports.
	}
	if err := node.Continue(); err != nil {
		t.Fatal(err)
	}
}

func TestMessageThatTheLibraryCannotReadCostsNobodyTheConnection(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	s := newSource(t, url)
	q := open(t, s, binding(t, "events", "#"))
	deep := amqp.Table{"leaf": "x"}
	for range 40 {
		deep = amqp.Table{"t": deep}
	}
	many := amqp.Table{}
	for i := range 9000 {
		many[fmt.Sprint(i)] = nil
	}
	fine := amqp.Table{"fine": "x"}
	for _, headers := range []amqp.Table{fine, deep, fine, many, fine} {
		pub.publish("events", "k", amqp.Publishing{
			ContentType: "text/plain", MessageId: "m", Headers: headers, Body: []byte("body"),
		})
		d := next[*broker.Delivery](t, q)
		q.Ack(d.Tag)
		if string(d.Body) != "body" || d.Properties.ContentType != "text/plain" || d.Properties.MessageID != "m" {
			t.Fatalf("got %+v", d)
		}
		if _, ok := d.Properties.Headers["fine"]; ok != (len(headers) == 1 && headers["fine"] != nil) {
			t.Fatalf("got headers %v", d.Properties.Headers)
		}
	}
	if n := s.Stats().Poisoned; n != 2 {
		t.Errorf("%d messages were poisoned, want 2", n)
	}
}

// TestHeaderAboveTheAgreedFrameSizeCostsNobodyTheConnection has messages whose headers fill a frame be dead-lettered, by which
// they grow: on their way to a queue of ours, and on the way from there to what counts the dead letters.
func TestHeaderAboveTheAgreedFrameSizeCostsNobodyTheConnection(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("events", "topic")
	s := newSource(t, url, func(o *Options) { o.Prefetch, o.QueueMaxLength = 1, 1 })
	q := open(t, s, binding(t, "events", "#"))
	detour, err := pub.ch.QueueDeclare("", false, false, true, false, amqp.Table{
		"x-dead-letter-exchange": "events", "x-dead-letter-routing-key": "k", "x-message-ttl": int64(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	large := amqp.Publishing{Headers: amqp.Table{"a": strings.Repeat("h", frameSize-42)}, Body: []byte("large")}
	pub.publish("", detour.Name, large)
	d := next[*broker.Delivery](t, q)
	if v, _ := d.Properties.Headers["a"].(string); string(d.Body) != "large" || len(v) != frameSize-42 || d.Properties.Headers["x-death"] == nil {
		t.Errorf("got %q with %d bytes in a header", d.Body, len(v))
	}
	pub.publish("events", "k", large) // dropped for the next one
	pub.text("events", "k", "last")
	if e := next[*broker.Overflow](t, q); e.Missed != 1 {
		t.Errorf("missed is %d", e.Missed)
	}
	q.Ack(d.Tag)
	wantBody(t, q, "last")
	if n := s.Stats().Losses; n != 0 {
		t.Errorf("%d connections were lost", n)
	}
}

// TestExchangesOfTheGatewaysHaveNamesThatNeverComeBack: on RabbitMQ 4.3 one that is declared while the broker deletes another
// of its name can be beyond use. After each loss markers come through the new ones.
func TestExchangesOfTheGatewaysHaveNamesThatNeverComeBack(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url, func(o *Options) { o.CanaryInterval = 20 * time.Millisecond })
	q := open(t, s, binding(t, "amq.topic", "#"))
	seen := map[string]bool{"": true}
	isNew := func(name string) bool {
		if seen[name] {
			return false
		}
		seen[name] = true
		return true
	}
	eventually(t, "the canary has an exchange", func() bool { return isNew(s.canary.source()) })
	isNew(internals(t, q).conn.dead.name)
	for range 3 {
		closeConnections(t, url)
		recovered(t, q, broker.GapBrokerReconnected)
		if name := internals(t, q).conn.dead.name; !isNew(name) {
			t.Errorf("dead letters go to %s again", name)
		}
		eventually(t, "the canary has another one", func() bool { return isNew(s.canary.source()) })
		name := internals(t, q).conn.dead.name
		eventually(t, "markers are led to it", func() bool {
			return rabbittest.Eval(t, fmt.Sprintf(`length([B || B <- rabbit_binding:list(<<"%s">>), element(4, element(4, B)) =:= <<"%s">>, element(3, element(4, B)) =:= exchange])`,
				vhostOf(t, url), name)) == "1"
		})
	}
}
