package rabbitmq

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// bouncing is an exchange that is deleted and made again while many bindings to it are being made.
type bouncing struct {
	pub      *publisher
	name     string
	bindings []broker.Binding
}

// bounce deletes and makes the exchange again, twice, while f runs.
func (b *bouncing) bounce(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for range 2 {
		<-time.After(2 * time.Millisecond)
		b.pub.remove(b.name)
		b.pub.declare(b.name, "direct")
	}
	<-done
}

// bound counts the bindings that the broker has.
func (b *bouncing) bound(t *testing.T) int {
	t.Helper()
	out, err := rabbittest.Private(t).Eval(t.Context(), fmt.Sprintf(
		`length(rabbit_binding:list_for_source(rabbit_misc:r(<<"/">>, exchange, <<"%s">>)))`, b.name))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// settle waits until nothing is missing and nothing more is told.
func (b *bouncing) settle(t *testing.T, q *brokertest.Inbox) {
	t.Helper()
	missing := map[string]bool{}
	deadline := time.After(patience)
	for {
		select {
		case e := <-q.Events():
			switch e := e.(type) {
			case *broker.BindingsLost:
				for _, id := range e.IDs {
					missing[id] = true
				}
			case *broker.BindingsBack:
				for _, id := range e.IDs {
					delete(missing, id)
				}
			}
		case <-time.After(300 * time.Millisecond):
			if len(missing) == 0 && b.bound(t) >= len(b.bindings) { // else the deletion is not told yet
				return
			}
		case <-deadline:
			t.Fatalf("%d bindings are missing for good, and the broker has %d", len(missing), b.bound(t))
		}
	}
}

// check publishes a message for each binding. All must come.
func (b *bouncing) check(t *testing.T, round string, q *brokertest.Inbox) {
	t.Helper()
	b.settle(t, q)
	for _, x := range b.bindings {
		b.pub.text(b.name, x.RoutingKey(), x.RoutingKey())
	}
	for n := range b.bindings {
		select {
		case e := <-q.Events():
			if _, ok := e.(*broker.Delivery); !ok {
				t.Fatalf("%s: got %T", round, e)
			}
		case <-time.After(patience):
			t.Fatalf("%s: all were told to be bound, and of %d messages %d came", round, len(b.bindings), n)
		}
	}
}

// TestNoBindingIsToldToBeBoundThatIsNot: what the broker confirmed may be gone by the time that it is told.
func TestNoBindingIsToldToBeBoundThatIsNot(t *testing.T) {
	url := rabbittest.Private(t).URL() // the plugin publishes in the default virtual host
	b := &bouncing{pub: newPublisher(t, url), name: "bouncing-" + rand.Text()[:8]}
	for i := range 64 {
		b.bindings = append(b.bindings, binding(t, b.name, fmt.Sprint("k", i)))
	}
	b.pub.declare(b.name, "direct")
	s := newSource(t, url, func(o *Options) { o.ProbeInterval = time.Hour }) // no regular probe mends it
	open(t, s)                                                               // what has a connection listens
	eventually(t, "the source listens", func() bool { return strings.Contains(strings.Join(privateQueues(t), " "), ".events.") })
	for round := range 3 {
		q := open(t, s, b.bindings...)
		b.bounce(func() {})
		b.check(t, fmt.Sprint("bound again, round ", round), q)
		closeQueue(t, q)

		b.bounce(func() {
			for err := errors.New("not yet"); err != nil; { // it is refused while there is no exchange
				q, err = brokertest.Open(t.Context(), s, broker.QueueSpec{Stream: rand.Text(), Bindings: b.bindings})
			}
		})
		b.check(t, fmt.Sprint("made, round ", round), q)
		closeQueue(t, q)

		q = open(t, s)
		b.bounce(func() {
			for err := errors.New("not yet"); err != nil; { // the same
				err = q.Bind(t.Context(), b.bindings)
			}
		})
		b.check(t, fmt.Sprint("bound, round ", round), q)
		closeQueue(t, q)
	}
	b.pub.remove(b.name)
}
