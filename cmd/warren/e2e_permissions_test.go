package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

var permissionsPattern = regexp.MustCompile(`rabbitmqctl set_permissions -p / warren '([^']*)' '([^']*)' '([^']*)'`)

// permissionsOfThePages returns what the README gives the gateway's user, and holds the other pages to it.
func permissionsOfThePages(t *testing.T) (configure, write, read string) {
	t.Helper()
	for _, name := range []string{"README.md", "docs/operations.md", "docs/quickstart.md"} {
		m := permissionsPattern.FindStringSubmatch(page(t, name))
		if m == nil {
			t.Fatalf("%s does not say which permissions the user needs", name)
		}
		if configure == "" {
			configure, write, read = m[1], m[2], m[3]
		}
		if m[1] != configure || m[2] != write || !strings.HasPrefix(m[3], `^(warren\.|orders$`) {
			t.Errorf("%s gives other permissions than the README", name)
		}
	}
	return configure, write, read
}

// The gateway does all of its work with the user of the pages, and RabbitMQ refuses all else.
func TestUserOfThePagesSufficesAndCanDoNothingElse(t *testing.T) {
	configure, write, read := permissionsOfThePages(t)
	admin := rabbittest.VHost(t)
	vhost := admin[strings.LastIndexByte(admin, '/')+1:]
	user := "docs-" + vhost
	rabbittest.Ctl(t, "-q", "add_user", user, "secret")
	defer rabbittest.Ctl(t, "-q", "delete_user", user) // in a Cleanup the test's context would be over
	rabbittest.Ctl(t, "-q", "set_permissions", "-p", vhost, user, configure, write, read)
	mine := strings.Replace(admin, "guest:guest", user+":secret", 1)

	pub := newRabbitPublisher(t, admin)
	pub.declare("orders")
	pub.declare("secrets")
	if _, err := pub.ch.QueueDeclare("work", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}

	g := warrentest.Start(t, "--broker", mine, "--exchange", "orders=topic")
	l := startListen(t, g.URL, "orders=n.#", "--count", "3")
	l.want("ready")
	pub.publish("orders", 1, 3)
	l.want("1", "2", "3", "END")
	s := createSubscription(t, g.URL, "orders")
	bindings := g.URL + s.Links.Self + "/bindings"
	if status := request(t, "POST", bindings, `{"bindings":[{"exchange":"orders","routing_key":"x"}]}`, nil); status != 200 {
		t.Errorf("bind answers %d", status)
	}
	if status := request(t, "POST", bindings, `{"bindings":[{"exchange":"secrets","routing_key":"#"}]}`, nil); status != 403 {
		t.Errorf("bind to an exchange that the user may not read answers %d", status)
	}

	refusedToTheUser(t, mine)
}

// refusedToTheUser tries what RabbitMQ must refuse by itself.
func refusedToTheUser(t *testing.T, url string) {
	t.Helper()
	for what, try := range map[string]func(*amqp.Channel) error{
		"publish to an exchange that it may read": func(ch *amqp.Channel) error { return publishConfirmed(t, ch, "orders", "n.1") },
		"publish to a queue":                      func(ch *amqp.Channel) error { return publishConfirmed(t, ch, "", "work") },
		"read a queue of others": func(ch *amqp.Channel) error {
			_, err := ch.Consume("work", "", true, false, false, false, nil)
			return err
		},
		"purge a queue of others": func(ch *amqp.Channel) error {
			_, err := ch.QueuePurge("work", false)
			return err
		},
		"declare an exchange": func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("own", "topic", false, true, false, false, nil)
		},
		"bind an exchange that it may not read": func(ch *amqp.Channel) error {
			if _, err := ch.QueueDeclare("warren.mine", false, true, true, false, nil); err != nil {
				t.Error(err)
			}
			return ch.QueueBind("warren.mine", "#", "secrets", false, nil)
		},
	} {
		conn, err := amqp.Dial(url)
		if err != nil {
			t.Fatal(err)
		}
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		var refused *amqp.Error
		if err := try(ch); !errors.As(err, &refused) || refused.Code != amqp.AccessRefused {
			t.Errorf("%s: %v", what, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// publishConfirmed publishes and returns what the broker says to it.
func publishConfirmed(t *testing.T, ch *amqp.Channel, exchange, key string) error {
	t.Helper()
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	confirm, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), exchange, key, false, false, amqp.Publishing{})
	if err != nil {
		return err
	}
	select {
	case <-confirm.Done():
		if confirm.Acked() {
			return nil
		}
		return <-closed // which it is done by, too
	case refused := <-closed:
		return refused
	}
}
