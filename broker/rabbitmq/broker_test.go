package rabbitmq

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestExchangeEventsTellAtOnce(t *testing.T) {
	url := rabbittest.Private(t).URL() // the plugin publishes in the default virtual host
	pub := newPublisher(t, url)
	name := "told-" + t.Name()
	pub.declare(name, "fanout")
	var log bytes.Buffer
	s := newSource(t, url, func(o *Options) {
		o.ProbeInterval = time.Hour
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.ExchangeTypes = map[string]string{name: "topic"} // as it is not
	})
	b := binding(t, name, "k")
	q := open(t, s, b)
	eventually(t, "the source listens", func() bool {
		return strings.Contains(strings.Join(privateQueues(t), " "), ".events.")
	})
	for range 3 {
		pub.remove(name)
		pub.declare(name, "fanout") // before any probe could see that it was gone
		wantIDs(t, next[*broker.BindingsLost](t, q).IDs, b)
		wantIDs(t, next[*broker.BindingsBack](t, q).IDs, b)
		pub.text(name, "", "back")
		wantBody(t, q, "back")
	}
	for range 2 {
		if typ, ok := s.ExchangeType(name); typ != "fanout" || !ok {
			t.Errorf("type is %q, %v", typ, ok)
		}
		s.exchanges.forgetTypes() // as when no more events are heard: the configuration is no truer for that
	}
	pub.remove(name)
}

func TestExchangeMadeAgainBetweenTwoProbesIsBoundAgain(t *testing.T) {
	url := rabbittest.VHost(t) // without the plugin's events
	pub := newPublisher(t, url)
	pub.declare("events", "fanout")
	q := open(t, newSource(t, url), binding(t, "events", "k"))
	pub.remove("events")
	pub.declare("events", "fanout")
	eventually(t, "messages come again", func() bool {
		pub.text("events", "", "again")
		select {
		case e := <-q.Events(): // It may have been seen missing all the same.
			_, ok := e.(*broker.Delivery)
			return ok
		default:
			return false
		}
	})
}

func TestExchangeWhoseEventNobodyHeardIsBoundAgain(t *testing.T) {
	url := rabbittest.Private(t).URL() // the plugin publishes in the default virtual host
	b := binding(t, "amq.topic", "unheard")
	q := open(t, newSource(t, url), b)
	eventually(t, "the source listens", func() bool {
		return strings.Contains(strings.Join(privateQueues(t), " "), ".events.")
	})
	inc := internals(t, q) // what is left of an exchange that was deleted and made again
	if err := inc.conn.disposable(func(ch *amqp.Channel) error { return unbind(ch, inc.name, b) }); err != nil {
		t.Fatal(err)
	}
	pub := newPublisher(t, url)
	eventually(t, "messages come again", func() bool {
		pub.text("amq.topic", "unheard", "again")
		return len(q.Events()) > 0
	})
	wantBody(t, q, "again")
}

func TestEventsAreHeardAgainAndCostNoChannels(t *testing.T) {
	node := rabbittest.Private(t)
	newSource(t, node.URL(), func(o *Options) { o.ProbeInterval = time.Hour }) // no channels of others
	eval := func(expr string) string {
		out, err := node.Eval(contextOf(t), expr)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const queues = `[Q || Q <- rabbit_amqqueue:list(<<"/">>), string:find(element(4, amqqueue:get_name(Q)), ".events.") =/= nomatch]`
	last := ""
	heard := func() bool { // by one consumer on one queue, which is new
		now := eval(`[{erlang:phash2(amqqueue:get_name(Q)), N} || Q <- ` + queues + `, {ok, _, N} <- [(catch rabbit_amqqueue:stat(Q))]]`) // it may be gone by then
		if now == last || strings.Count(now, "{") != 1 || !strings.HasSuffix(now, ", 1}]") {
			return false
		}
		last = now
		return true
	}
	eventually(t, "the source listens", heard)
	count := func() int {
		n, err := strconv.Atoi(eval(`length(rabbit_channel:list_local())`))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "markers come, which needs a channel", func() bool {
		return eval(`length([B || B <- rabbit_binding:list(<<"/">>), element(3, element(4, B)) =:= exchange])`) == "1"
	})
	before := count()
	for _, lose := range []string{
		`rabbit_amqqueue:delete(Q, false, false, <<"test">>)`, `exit(amqqueue:get_pid(Q), kill)`, `rabbit_amqqueue:delete(Q, false, false, <<"test">>)`,
	} {
		eval(`[(catch ` + lose + `) || Q <- ` + queues + `]`)
		eventually(t, "the source listens again", heard)
	}
	eventually(t, "there are as many channels as before", func() bool { return count() <= before })
}

func privateQueues(t *testing.T) []string {
	t.Helper()
	out, err := rabbittest.Private(t).Ctl(contextOf(t), "-q", "list_queues", "name")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)
}

// restricted makes an account that may do in a virtual host what the gateway needs, and read one kind of exchange.
func restricted(t *testing.T, url, read string) string {
	t.Helper()
	vhost := vhostOf(t, url)
	user := "u" + vhost
	rabbittest.Ctl(t, "-q", "add_user", user, "secret")
	rabbittest.Ctl(t, "-q", "set_permissions", "-p", vhost, user, `^warren\.`, `^warren\.`, read)
	return strings.Replace(url, "guest:guest", user+":secret", 1)
}

func TestLeastPermissionsSuffice(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("open", "topic")
	pub.declare("secret", "topic")
	s := newSource(t, restricted(t, url, `^(warren\..*|open)$`), func(o *Options) { o.QueueMaxLength, o.Prefetch = 10, 5 })
	allowed, refused := binding(t, "open", "#"), binding(t, "secret", "#")
	q := open(t, s, allowed)

	_, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{allowed, refused}})
	wantCode(t, err, broker.CodeForbiddenBinding, 1)
	err = q.Bind(t.Context(), []broker.Binding{binding(t, "open", "x"), refused})
	wantCode(t, err, broker.CodeForbiddenBinding, 1)
	if detail := broker.AsError(err).Detail; strings.Contains(detail, "ACCESS") || strings.Contains(detail, "vhost") || strings.Contains(detail, "warren.") {
		t.Errorf("detail %q tells of the inside", detail)
	}
	pub.flood("open", "k", 99, nil)
	for range 5 {
		next[*broker.Delivery](t, q)
	}
	if e := next[*broker.Overflow](t, q); e.Missed != 99+1-5-10 {
		t.Errorf("missed is %d", e.Missed)
	}
	if h := s.Health(); !h.Ready || h.Overloaded {
		t.Errorf("health is %+v", h)
	}
}

func TestBindingThatIsNoLongerAllowedIsMissingAfterALoss(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newPublisher(t, url)
	pub.declare("open", "topic")
	pub.declare("secret", "topic")
	mine := restricted(t, url, `.*`)
	s := newSource(t, mine)
	allowed, refused, unbound := binding(t, "open", "#"), binding(t, "secret", "#"), binding(t, "secret", "x")
	q := open(t, s, allowed, refused, unbound)
	vhost := vhostOf(t, url)
	rabbittest.Ctl(t, "-q", "set_permissions", "-p", vhost, "u"+vhost, `^warren\.`, `^warren\.`, `^(warren\..*|open)$`)
	closeConnections(t, url)
	recovered(t, q, broker.GapBrokerReconnected, refused, unbound)
	if err := q.Unbind(t.Context(), []broker.Binding{unbound}); err != nil {
		t.Error(err)
	}
	pub = newPublisher(t, url)
	pub.text("open", "k", "on")
	wantBody(t, q, "on")
	rabbittest.Ctl(t, "-q", "set_permissions", "-p", vhost, "u"+vhost, `^warren\.`, `^warren\.`, `.*`)
	wantIDs(t, next[*broker.BindingsBack](t, q).IDs, refused)
}

func TestRefusedBindingIsNamedHoweverManyFollow(t *testing.T) {
	url := rabbittest.VHost(t)
	many := []broker.Binding{binding(t, "amq.topic", "#"), binding(t, "nowhere", "#")}
	for i := range 200 { // takes longer to send than the broker to refuse
		many = append(many, bindingWith(t, "amq.headers", "", broker.Table{"i": int64(i), "a": strings.Repeat("x", 60<<10)}))
	}
	for _, solo := range []int{1000, -1} {
		s := newSource(t, url, func(o *Options) { o.SoloQueues = solo })
		for range 3 {
			_, err := s.Open(t.Context(), broker.QueueSpec{Stream: "s", Bindings: many})
			wantCode(t, err, broker.CodeExchangeNotFound, 1)
		}
	}
	eventually(t, "nothing is left", func() bool { return len(subscriptionQueues(t, url)) == 0 })
}

func TestExchangeNamedLikeALostQueueIsAnExchange(t *testing.T) {
	q := open(t, newSource(t, rabbittest.VHost(t)))
	odd := binding(t, "NOT_FOUND - no queue ", "k")
	wantCode(t, q.Bind(t.Context(), []broker.Binding{odd}), broker.CodeExchangeNotFound, 0)
}

func TestQueueLimitOfTheVirtualHostIsOverCapacity(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url)
	q := open(t, s, binding(t, "amq.topic", "#"))
	rabbittest.Ctl(t, "-q", "set_vhost_limits", "-p", vhostOf(t, url), `{"max-queues": 4}`)
	_, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{binding(t, "amq.topic", "#")}})
	wantCode(t, err, broker.CodeOverCapacity, -1)
	newPublisher(t, url).text("amq.topic", "k", "on")
	wantBody(t, q, "on")
}

func TestConnectionLimitOfTheVirtualHostKeepsWhatThereIs(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url+"?channel_max=26") // 2 places on each connection
	open(t, s)
	open(t, s)
	eventually(t, "the canary is up", func() bool { return s.Stats().CanaryUp })
	rabbittest.Ctl(t, "-q", "set_vhost_limits", "-p", vhostOf(t, url), `{"max-connections": 2}`)
	_, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: "s"})
	wantCode(t, err, broker.CodeOverCapacity, -1)
	if h := s.Health(); !h.Ready {
		t.Errorf("health is %+v", h)
	}
}

func TestConnectionsAreOpenedAsNeededAndClosedWhenIdle(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url+"?channel_max=28", func(o *Options) { // 4 places on each connection
		o.IdleTimeout = 100 * time.Millisecond
		o.Node = "here"
	})
	var queues []*brokertest.Inbox
	for range 10 {
		queues = append(queues, open(t, s, binding(t, "amq.topic", "k")))
	}
	if n := s.Stats().Connections; n != 3 {
		t.Errorf("%d connections", n)
	}
	names := connectionNames(t, url)
	for _, want := range []string{"warren here consumers 1", "warren here consumers 2", "warren here consumers 3", "warren here canary"} {
		if !strings.Contains(names, want) {
			t.Errorf("connection %q is not in %s", want, names)
		}
	}
	pub := newPublisher(t, url)
	pub.text("amq.topic", "k", "all")
	for _, q := range queues {
		wantBody(t, q, "all")
	}
	for _, q := range queues[1:] {
		closeQueue(t, q)
	}
	eventually(t, "idle connections are closed", func() bool { return s.Stats().Connections == 1 })
	pub.text("amq.topic", "k", "one")
	wantBody(t, queues[0], "one")
}

func TestBindingsThatAnExchangeRefusesCostNobodyElse(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url)
	q := open(t, s, binding(t, "amq.topic", "k"))
	long := strings.Repeat("n", 256)
	for _, c := range []struct {
		name string
		args broker.Table
		fine bool
	}{
		{"x-match of another value", broker.Table{"x-match": "none"}, false},
		{"x-match like a limit of the broker", broker.Table{"x-match": "queue limit (1)"}, false},
		{"x-match of another type", broker.Table{"x-match": int64(1)}, false},
		{"nested", broker.Table{"x-match": "any", "a": []any{int64(1), nil, []any{"b"}}}, true},
		{"no number", broker.Table{"a": math.NaN()}, false},
		{"infinite", broker.Table{"a": []any{float32(math.Inf(-1))}}, false},
		{"odd values", broker.Table{"a": math.MaxFloat64, "b": "\xff", "c": nil, "d": uint64(math.MaxUint64), "e": []byte{0}, "f": broker.Decimal{Scale: 1}, "g": broker.Timestamp(1), "h": float32(1)}, true},
		{"empty name", broker.Table{"": ""}, true},
		{"name too long", broker.Table{long: "x"}, false},
		{"large", broker.Table{"a": strings.Repeat("x", 60<<10)}, true},
		{"too large", broker.Table{"a": strings.Repeat("x", 200<<10)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			odd := bindingWith(t, "amq.headers", "", c.args)
			other, err := brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{binding(t, "amq.topic", "x"), odd}})
			if c.fine {
				if err != nil {
					t.Fatal(err)
				}
				closeQueue(t, other)
				if err := q.Bind(t.Context(), []broker.Binding{odd}); err != nil {
					t.Fatal(err)
				}
				if err := q.Unbind(t.Context(), []broker.Binding{odd}); err != nil {
					t.Fatal(err)
				}
				return
			}
			wantCode(t, err, broker.CodeInvalidRequest, 1)
			wantCode(t, q.Bind(t.Context(), []broker.Binding{odd}), broker.CodeInvalidRequest, 0)
		})
	}
	newPublisher(t, url).text("amq.topic", "k", "on")
	wantBody(t, q, "on")
	if n := s.Stats().Losses; n != 0 {
		t.Errorf("%d connections were lost", n)
	}
}

func TestAlarmIsOverloadAndConsumingGoesOn(t *testing.T) {
	node := rabbittest.Private(t)
	s := newSource(t, node.URL())
	pub := newPublisher(t, node.URL())
	q := open(t, s, binding(t, "amq.topic", "#"))
	pub.text("amq.topic", "k", "before")
	if _, err := node.Ctl(contextOf(t), "-q", "set_vm_memory_high_watermark", "0.00001"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "health tells of the alarm", func() bool { h := s.Health(); return h.Ready && h.Overloaded && s.Stats().Blocked })
	wantBody(t, q, "before")
	closeQueue(t, q)
	if _, err := node.Ctl(contextOf(t), "-q", "set_vm_memory_high_watermark", "0.4"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the alarm is over", func() bool { h := s.Health(); return h.Ready && !h.Overloaded })
}

func TestAcksAreBatchedAndNoneIsForgotten(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url, func(o *Options) { o.Prefetch = 10 })
	q := open(t, s, binding(t, "amq.topic", "k"))
	newPublisher(t, url).flood("amq.topic", "k", 1003, nil)
	for range 1003 {
		q.Ack(next[*broker.Delivery](t, q).Tag)
	}
	eventually(t, "all are acknowledged", func() bool { return s.Stats().Unacked == 0 })
	name := internals(t, q).name
	eventually(t, "the broker agrees", func() bool {
		out := rabbittest.Ctl(t, "-q", "list_queues", "-p", vhostOf(t, url), "name", "messages")
		return slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool { return strings.TrimSpace(l) == name+"\t0" })
	})
}

func TestNoSecretInErrorsAndLogs(t *testing.T) {
	var log bytes.Buffer
	opts := Options{Node: "n", Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, bad := range []string{"amqp://u:s3cret@host:port/", "http://u:s3cret@host/", "amqp://u:s3cret@ho st/", "amqp://u:s3cret@h/?auth_mechanism=s3cret"} {
		opts.URL = bad
		if _, err := New(opts); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got error %v", bad, err)
		}
	}
	url := rabbittest.VHost(t)
	opts.URL = strings.Replace(url, "guest:guest", "guest:s3cret", 1)
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Open(t.Context(), broker.QueueSpec{Stream: "s"})
	wantCode(t, err, broker.CodeBrokerUnavailable, -1)
	if err := s.Close(contextOf(t)); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"log": log.String(), "error": err.Error(), "health": fmt.Sprint(s.Health())} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("the password is in the %s: %s", what, text)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, opts := range []Options{
		{URL: "amqp://localhost"},
		{URL: "amqp://localhost", Node: strings.Repeat("n", 129)},
		{URL: "amqp://localhost", Node: "\xff"},
		{URL: "amqp://localhost", Node: "n\n"},
		{URL: "amqp://localhost", Node: "n", Prefetch: 70_000},
		{URL: "amqps://localhost?cacertfile=/nowhere", Node: "n"},
		{URL: "amqps://localhost?certfile=/nowhere", Node: "n"},
		{URL: "amqps://localhost?keyfile=/nowhere", Node: "n"},
	} {
		if _, err := New(opts); err == nil {
			t.Errorf("%+v is accepted", opts)
		}
	}
}

func TestBindingThatOnlySeemsMissingIsUnboundAtTheBroker(t *testing.T) {
	url := rabbittest.VHost(t)
	s := newSource(t, url, func(o *Options) { o.ProbeInterval = time.Hour }) // Nobody finds out.
	stays, goes := binding(t, "amq.topic", "stays"), binding(t, "amq.topic", "goes")
	q := open(t, s, stays, goes)
	q.Queue.(*queue).exchangeGone("amq.topic")
	wantIDs(t, next[*broker.BindingsLost](t, q).IDs, stays, goes)
	if err := q.Unbind(t.Context(), []broker.Binding{goes}); err != nil {
		t.Fatal(err)
	}
	pub := newPublisher(t, url)
	pub.text("amq.topic", "goes", "goes")
	pub.text("amq.topic", "stays", "stays")
	wantBody(t, q, "stays")
}

// stalled is a queue behind a proxy, with a binding to amq.direct by "old".
type stalled struct {
	proxy *proxy
	src   *Source
	queue *brokertest.Inbox
	pub   *publisher
	gone  chan amqp.Return
}

func newStalled(t *testing.T) *stalled {
	t.Helper()
	url := rabbittest.VHost(t)
	x := &stalled{proxy: newProxy(t, url), pub: newPublisher(t, url)}
	x.src = newSource(t, x.proxy.url, func(o *Options) { o.OperationTimeout = 5 * time.Second }) // which the opening has, too
	x.queue = open(t, x.src, binding(t, "amq.direct", "old"))
	x.gone = x.pub.ch.NotifyReturn(make(chan amqp.Return, 1))
	return x
}

// timesOut checks that a change answers in time while the broker does not.
func (x *stalled) timesOut(t *testing.T, change func(context.Context) error) {
	t.Helper()
	release := x.proxy.stall()
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantCode(t, change(ctx), broker.CodeBrokerTimeout, -1)
}

func (x *stalled) routed(t *testing.T, key string) bool {
	t.Helper()
	confirm, err := x.pub.ch.PublishWithDeferredConfirm("amq.direct", key, true, false, amqp.Publishing{Body: []byte(key)})
	if err != nil {
		t.Fatal(err)
	}
	<-confirm.Done()
	select {
	case <-x.gone: // The broker returns a message before it confirms it.
		return false
	default:
		return true
	}
}

func (x *stalled) wantOnlyOld(t *testing.T) {
	t.Helper()
	eventually(t, "everything is as before", func() bool { return x.routed(t, "old") && !x.routed(t, "fresh") })
	if n := x.src.Stats().Queues; n != 1 {
		t.Errorf("%d queues", n)
	}
}

func TestOpenWhoseContextEndsLeavesNothing(t *testing.T) {
	x := newStalled(t)
	x.timesOut(t, func(ctx context.Context) error {
		_, err := x.src.Open(ctx, broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{binding(t, "amq.direct", "fresh")}})
		return err
	})
	x.wantOnlyOld(t)
}

func TestBindWhoseContextEndsIsUndone(t *testing.T) {
	x := newStalled(t)
	x.timesOut(t, func(ctx context.Context) error {
		return x.queue.Bind(ctx, []broker.Binding{binding(t, "amq.direct", "fresh")})
	})
	x.wantOnlyOld(t)
}

func TestBindingLostBeforeItsBindIsUndoneIsNotMissingForEver(t *testing.T) {
	s := newSource(t, rabbittest.VHost(t), func(o *Options) { o.ProbeInterval = time.Hour }) // It finds nothing missing.
	old, fresh := binding(t, "amq.direct", "old"), binding(t, "amq.direct", "fresh")
	q := open(t, s, old)
	if err := q.Bind(t.Context(), []broker.Binding{fresh}); err != nil {
		t.Fatal(err)
	}
	inner := q.Queue.(*queue)
	inner.exchangeGone("amq.direct")
	wantIDs(t, next[*broker.BindingsLost](t, q).IDs, old, fresh)
	inner.undoBind(internals(t, q), []broker.Binding{fresh})
	wantIDs(t, next[*broker.BindingsBack](t, q).IDs, fresh)
}

func TestUnbindThatTakesTooLongIsUndoneWithAGap(t *testing.T) {
	x := newStalled(t)
	old := binding(t, "amq.direct", "old")
	x.timesOut(t, func(ctx context.Context) error { return x.queue.Unbind(ctx, []broker.Binding{old}) })
	wantIDs(t, next[*broker.BindingsLost](t, x.queue).IDs, old)
	wantIDs(t, next[*broker.BindingsBack](t, x.queue).IDs, old)
	x.wantOnlyOld(t)
}

// TestRefusedBindingsTouchNoExchange: an exchange that is auto-delete goes with its last binding, and so with one that is taken back.
func TestRefusedBindingsTouchNoExchange(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	pub.declare("secret", "topic")
	if err := pub.ch.ExchangeDeclare("passing", "topic", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	s := newSource(t, account(t, address, *leastPrivilege("passing$|nowhere$")))
	q := open(t, s)
	for exchange, code := range map[string]broker.Code{"nowhere": broker.CodeExchangeNotFound, "secret": broker.CodeForbiddenBinding} {
		bindings := []broker.Binding{binding(t, "passing", "a"), binding(t, "passing", "b"), binding(t, exchange, "#")}
		_, err := s.Open(contextOf(t), broker.QueueSpec{Stream: "s", Bindings: bindings})
		wantCode(t, err, code, 2)
		wantCode(t, q.Bind(contextOf(t), bindings), code, 2)
		if err := pub.ch.ExchangeDeclarePassive("passing", "topic", false, true, false, false, nil); err != nil {
			t.Fatalf("with %s: %v", exchange, err)
		}
	}
	eventually(t, "no queue is left of what was refused", func() bool { return len(subscriptionQueues(t, address)) == 1 })
	pub.declare("nowhere", "topic")
	both := []broker.Binding{binding(t, "passing", "a"), binding(t, "nowhere", "#")}
	if err := q.Bind(contextOf(t), both); err != nil {
		t.Fatal(err)
	}
	pub.text("passing", "a", "1")
	pub.text("nowhere", "x", "2")
	wantBody(t, q, "1")
	wantBody(t, q, "2")
}
