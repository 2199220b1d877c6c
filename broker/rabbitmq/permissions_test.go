package rabbitmq

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// leastPrivilege is what a gateway needs: its own names, and to read the exchanges that may be bound. docs/security.md has the
// same line.
func leastPrivilege(exchanges string) *permission {
	return &permission{configure: `^warren\.`, write: `^warren\.`, read: `^(warren\.|` + exchanges + `)`}
}

type permission struct{ configure, write, read string }

// account makes an account with these permissions in the virtual host of the address, and returns its address.
func account(t testing.TB, address string, p permission) string {
	t.Helper()
	name := "account-" + rand.Text()
	// As rabbitmqctl add_user and set_permissions do, in a tenth of the time.
	rabbittest.Eval(t, fmt.Sprintf(`ok = rabbit_auth_backend_internal:add_user(<<"%s">>, <<"secret">>, <<"test">>), `+
		`ok = rabbit_auth_backend_internal:set_permissions(<<"%[1]s">>, <<"%[2]s">>, <<%[3]q>>, <<%[4]q>>, <<%[5]q>>, <<"test">>)`,
		name, vhostOf(t, address), p.configure, p.write, p.read))
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "secret")
	return u.String()
}

// probed is a logger that tells when the permissions have been looked at.
func probed(t testing.TB, into chan<- struct{}) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("the broker account may do")) {
			select {
			case into <- struct{}{}:
			default:
			}
		}
		return t.Output().Write(p)
	}), nil))
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestPermissionsThatAreTooManyAreToldAndChangeNothing(t *testing.T) {
	least := leastPrivilege("orders$")
	cases := map[string]struct {
		permission permission
		want       []excess
	}{
		"none but needed":                 {*least, nil},
		"all":                             {permission{".*", ".*", ".*"}, []excess{excessWrite, excessRead, excessConfigure}},
		"reads all":                       {permission{least.configure, least.write, ".*"}, []excess{excessRead}},
		"writes all":                      {permission{least.configure, ".*", least.read}, []excess{excessWrite}},
		"writes to what is predeclared":   {permission{least.configure, `^(warren|amq)\.`, least.read}, []excess{excessWrite}},
		"writes to queues by their names": {permission{least.configure, `^(warren\..*|amq\.default)$`, least.read}, []excess{excessWrite}},
		"configures all":                  {permission{".*", least.write, least.read}, []excess{excessConfigure}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			address := rabbittest.VHost(t)
			pub := newPublisher(t, address)
			if _, err := pub.ch.QueueDeclare("others", false, false, false, false, nil); err != nil {
				t.Fatal(err)
			}
			told := make(chan struct{}, 1)
			s := newSource(t, account(t, address, c.permission), func(o *Options) { o.Logger = probed(t, told) })
			select {
			case <-told:
			case <-time.After(patience):
				t.Fatal("nothing is told of the permissions")
			}
			want := make([]string, len(c.want))
			for i, e := range c.want {
				want[i] = string(e)
			}
			eventually(t, "the gateway is ready", func() bool { return s.Health().Ready })
			h := s.Health()
			if !h.Ready || h.Overloaded || !slices.Equal(h.Reasons, want) {
				t.Errorf("health %+v", h)
			}
			if q, err := pub.ch.QueueDeclarePassive("others", false, false, false, false, nil); err != nil || q.Messages > 0 {
				t.Errorf("another's queue has %d messages, %v", q.Messages, err)
			}
		})
	}
}

// The conformance suite runs with least privilege, too.
func TestLeastPrivilegeSufficesForCanaryAndRecovery(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	pub.declare("orders", "topic")
	pub.declare("later", "topic")
	s := newSource(t, account(t, address, *leastPrivilege("orders$|later$")))
	q := open(t, s, binding(t, "orders", "#"))
	pub.text("orders", "a", "1")
	wantBody(t, q, "1")
	eventually(t, "the canary is confirmed", func() bool { return s.Health().RoundTrip > 0 })
	closeConnections(t, address)
	next[*broker.Recovering](t, q)
	if e := next[*broker.Recovered](t, q); e.Reason != broker.GapBrokerReconnected || len(e.Missing) > 0 {
		t.Fatalf("recovered with %+v", e)
	}
	pub = newPublisher(t, address)
	pub.text("orders", "a", "2")
	wantBody(t, q, "2")
	if err := q.Bind(contextOf(t), []broker.Binding{binding(t, "later", "#")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is nothing to say", func() bool { h := s.Health(); return h.Ready && len(h.Reasons) == 0 })
}

func TestBrokerRefusesToTheGatewayWhatIsOthers(t *testing.T) {
	address := rabbittest.VHost(t)
	pub := newPublisher(t, address)
	pub.declare("orders", "topic")
	pub.declare("secret", "topic")
	if _, err := pub.ch.QueueDeclare("others", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	mine := account(t, address, *leastPrivilege("orders$"))
	conn, err := amqp.Dial(mine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for name, try := range map[string]func(ch *amqp.Channel) error{
		"publish to an exchange that it reads": func(ch *amqp.Channel) error { return publishConfirmed(ch, "orders", "a") },
		"publish to another":                   func(ch *amqp.Channel) error { return publishConfirmed(ch, "secret", "a") },
		"publish to a queue":                   func(ch *amqp.Channel) error { return publishConfirmed(ch, "", "others") },
		"get from another's queue":             func(ch *amqp.Channel) error { _, _, err := ch.Get("others", false); return err },
		"consume from another's queue": func(ch *amqp.Channel) error {
			_, err := ch.Consume("others", "", false, false, false, false, nil)
			return err
		},
		"purge another's queue":  func(ch *amqp.Channel) error { _, err := ch.QueuePurge("others", false); return err },
		"delete another's queue": func(ch *amqp.Channel) error { _, err := ch.QueueDelete("others", false, false, false); return err },
		"bind another's queue":   func(ch *amqp.Channel) error { return ch.QueueBind("others", "#", "orders", false, nil) },
		"delete an exchange":     func(ch *amqp.Channel) error { return ch.ExchangeDelete("orders", false, false) },
		"declare an exchange": func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("mine", "topic", false, false, false, false, nil)
		},
		"declare a queue": func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("mine", false, false, true, false, nil)
			return err
		},
		"bind to an exchange out of bounds": func(ch *amqp.Channel) error {
			if _, err := ch.QueueDeclare("warren.x", false, false, true, false, nil); err != nil {
				return errors.New("its own queue is refused")
			}
			return ch.QueueBind("warren.x", "#", "secret", false, nil)
		},
		"bind an exchange to one of its own": func(ch *amqp.Channel) error { return ch.ExchangeBind("orders", "#", "orders", false, nil) },
	} {
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		if err := try(ch); replyCode(err) != amqp.AccessRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newSource(t, mine)
	if _, err := s.Open(contextOf(t), broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{binding(t, "secret", "#")}}); broker.CodeOf(err) != broker.CodeForbiddenBinding {
		t.Errorf("the gateway binds what it may not: %v", err)
	}
}

func TestAccountThatLostItsPermissionsIsTheOperatorsMatter(t *testing.T) {
	address := rabbittest.VHost(t)
	mine := account(t, address, *leastPrivilege("amq\\.topic$"))
	s := newSource(t, mine)
	q, unbound := open(t, s, binding(t, "amq.topic", "#")), open(t, s)
	u, err := url.Parse(mine)
	if err != nil {
		t.Fatal(err)
	}
	rabbittest.Eval(t, fmt.Sprintf(`ok = rabbit_auth_backend_internal:set_permissions(<<"%s">>, <<"%s">>, <<"">>, <<"">>, <<"">>, <<"test">>)`,
		u.User.Username(), vhostOf(t, address)))
	_, err = s.Open(contextOf(t), broker.QueueSpec{Stream: "s", Bindings: []broker.Binding{binding(t, "amq.topic", "#")}})
	wantCode(t, err, broker.CodeBrokerUnavailable, -1)
	if e := broker.AsError(err); !strings.Contains(e.Err.Error(), "set_permissions") || strings.Contains(e.Detail, "permission") {
		t.Errorf("the client is told %q, the operator %q", e.Detail, e.Err)
	}
	for i := range 2 { // alone, and where the exchanges are looked at before
		err := unbound.Bind(contextOf(t), []broker.Binding{binding(t, "amq.topic", "#"), binding(t, "amq.direct", "a")}[:1+i])
		wantCode(t, err, broker.CodeBrokerUnavailable, -1)
	}
	newPublisher(t, address).text("amq.topic", "a", "on")
	wantBody(t, q, "on")
}

// publishConfirmed publishes and waits for the broker's word.
func publishConfirmed(ch *amqp.Channel, exchange, key string) error {
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirm, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, amqp.Publishing{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if ok, err := confirm.WaitContext(ctx); ok || err != nil {
		return err
	}
	select {
	case reason := <-closed:
		return reason
	case <-time.After(patience):
		return errors.New("not confirmed, and not refused")
	}
}
