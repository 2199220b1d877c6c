package rabbitmq

import (
	"bytes"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestBindingThatAnExchangeOfAnotherTypeRefusesHoldsUpNothing(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	pub.declare("orders", "topic")
	s := newSource(t, address, func(o *Options) { o.ProbeInterval = time.Hour })
	odd, other := bindingWith(t, "orders", "#", broker.Table{"x-match": "the limit"}), binding(t, "amq.topic", "#")
	q := open(t, s, odd, other)
	pub.remove("orders")
	pub.declare("orders", "headers")
	closeConnections(t, address)
	recovered(t, q, broker.GapBrokerReconnected, odd)
	newPublisher(t, address).text("amq.topic", "k", "on")
	wantBody(t, q, "on")
}

func TestPermissionsOnTopicsHoldForEachBinding(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	pub.declare("orders", "topic")
	pub.declare("builds", "topic")
	mine := account(t, address, *leastPrivilege("orders$|builds$"))
	u, err := url.Parse(mine)
	if err != nil {
		t.Fatal(err)
	}
	rabbittest.Ctl(t, "-q", "set_topic_permissions", "-p", vhostOf(t, address), u.User.Username(), "orders", "", `^eu\.`)
	s := newSource(t, mine)
	allowed, other := binding(t, "orders", "eu.#"), binding(t, "builds", "#")
	q := open(t, s, allowed, other)
	pub.text("orders", "eu.a", "1")
	wantBody(t, q, "1")
	bound := open(t, s)
	if err := bound.Bind(contextOf(t), []broker.Binding{other, allowed}); err != nil {
		t.Fatal(err)
	}
	refused := []broker.Binding{other, binding(t, "orders", "us.#")}
	_, err = s.Open(contextOf(t), broker.QueueSpec{Stream: "s", Bindings: refused})
	wantCode(t, err, broker.CodeForbiddenBinding, 1)
	wantCode(t, bound.Bind(contextOf(t), refused), broker.CodeForbiddenBinding, 1)
}

func TestManyQueuesThatCannotBeMadeAreFewLinesInTheLog(t *testing.T) {
	address := rabbittest.VHost(t)
	var mu sync.Mutex
	lines := 0
	s := newSource(t, address, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if bytes.Contains(p, []byte("cannot make a queue again")) {
				lines++
			}
			return t.Output().Write(p)
		}), nil))
	})
	for range 40 {
		open(t, s, binding(t, "amq.topic", "#"))
	}
	rabbittest.Ctl(t, "-q", "set_vhost_limits", "-p", vhostOf(t, address), `{"max-queues": 5}`)
	closeConnections(t, address)
	eventually(t, "it is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return lines > 0
	})
	rabbittest.Ctl(t, "-q", "clear_vhost_limits", "-p", vhostOf(t, address))
	eventually(t, "all are made again", func() bool { return s.Stats().Recoveries == 40 && s.Stats().Recovering == 0 })
	mu.Lock()
	defer mu.Unlock()
	if lines > 10 {
		t.Errorf("40 queues are %d lines", lines)
	}
}

func TestMessageOfManyQueuesSaysHowManyWereNotLogged(t *testing.T) {
	var log strings.Builder
	h := &seldom{Handler: slog.NewTextHandler(&log, nil)}
	begin := time.Now()
	for _, at := range []time.Duration{0, 1, broker.SeldomEvery - 1, broker.SeldomEvery, broker.SeldomEvery + 1} {
		for _, message := range []string{"a", "b"} {
			if err := h.Handle(t.Context(), slog.NewRecord(begin.Add(at), slog.LevelWarn, message, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 4 || strings.Count(log.String(), "not_logged=2\n") != 2 {
		t.Errorf("the log is\n%s", log.String())
	}
}

func TestCanaryThatAloneIsRefusedSaysWhy(t *testing.T) {
	address := rabbittest.VHost(t)
	told := make(chan struct{}, 1)
	s := newSource(t, address, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			if bytes.Contains(p, []byte("the canary has no connection")) && bytes.Contains(p, []byte("connection limit (1) is reached")) {
				select {
				case told <- struct{}{}:
				default:
				}
			}
			return t.Output().Write(p)
		}), nil))
	})
	open(t, s)
	pub := newPublisher(t, address)
	eventually(t, "the canary is up", func() bool { return s.Stats().CanaryUp })
	rabbittest.Ctl(t, "-q", "set_vhost_limits", "-p", vhostOf(t, address), `{"max-connections": 1}`)
	pub.remove(s.canary.source()) // so that the canary begins again
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("the log does not say why")
	}
	if source := s.canary.source(); source != "" {
		t.Errorf("connections would look for markers at %s, which is gone", source)
	}
	if h := s.Health(); !h.Ready || !h.Overloaded {
		t.Errorf("health is %+v", h)
	}
}

func TestBindingThatAnExchangeMadeAgainRefusesIsMissing(t *testing.T) {
	address := rabbittest.VHost(t) // without the plugin's events
	pub := newPublisher(t, address)
	pub.declare("orders", "topic")
	odd := bindingWith(t, "orders", "#", broker.Table{"x-match": "none"})
	q := open(t, newSource(t, address), odd)
	pub.remove("orders")
	pub.declare("orders", "headers")
	wantIDs(t, next[*broker.BindingsLost](t, q).IDs, odd)
	pub.remove("orders")
	pub.declare("orders", "topic")
	wantIDs(t, next[*broker.BindingsBack](t, q).IDs, odd)
	pub.text("orders", "k", "on")
	wantBody(t, q, "on")
}

func TestBindingThatIsThereAfterAllCostsNoExchange(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	if err := pub.ch.ExchangeDeclare("passing", "topic", false, true, false, false, nil); err != nil { // auto-delete
		t.Fatal(err)
	}
	s := newSource(t, address, func(o *Options) { o.ProbeInterval = time.Hour })
	b := binding(t, "passing", "#")
	q := open(t, s, b)
	s.exchanges.gone("passing") // as when a deletion is heard of after the binding was made again
	wantIDs(t, next[*broker.BindingsLost](t, q).IDs, b)
	s.exchanges.probeSoon("passing")
	wantIDs(t, next[*broker.BindingsBack](t, q).IDs, b)
	pub.text("passing", "k", "on")
	wantBody(t, q, "on")
	inc := internals(t, q)
	if err := inc.conn.disposable(func(ch *amqp.Channel) error { return unbind(ch, inc.name, b) }); err != nil {
		t.Fatal(err)
	}
	if err := pub.ch.ExchangeDeclarePassive("passing", "topic", false, true, false, false, nil); replyCode(err) != amqp.NotFound {
		t.Errorf("something keeps the exchange: %v", err)
	}
}
