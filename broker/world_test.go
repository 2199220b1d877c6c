package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a core over a scripted source, with virtual time.
type world struct {
	t      *testing.T
	fake   *brokertest.Fake
	broker *broker.Broker
	sent   int // messages delivered so far; the next has this number plus one
}

// inWorld runs the test in a bubble of its own and sees to it that everything ends.
func inWorld(t *testing.T, limits func(*broker.Limits), test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := broker.DefaultLimits()
		if limits != nil {
			limits(&l)
		}
		w := &world{t: t, fake: brokertest.NewFake()}
		w.broker = broker.New(broker.Options{Source: w.fake, Limits: l})
		test(t, w)
		if err := w.broker.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.fake.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if s := w.broker.Stats(); s.Owned+s.Shared != 0 || s.LogBytes != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}

func (w *world) bindings(names ...string) []broker.Binding {
	w.t.Helper()
	var out []broker.Binding
	for _, n := range names {
		b, err := broker.NewBinding(n, "#", nil)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func (w *world) create(exchanges ...string) *broker.Subscription {
	w.t.Helper()
	s, err := w.broker.Create(w.t.Context(), broker.Spec{Bindings: w.bindings(exchanges...)})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) share(exchanges ...string) *broker.Subscription {
	w.t.Helper()
	s, err := w.broker.Share(w.t.Context(), broker.Spec{Bindings: w.bindings(exchanges...), Linger: broker.DefaultStreamLinger})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// deliver sends n numbered messages and waits until they are in the log.
func (w *world) deliver(s *broker.Subscription, n int) {
	w.t.Helper()
	for range n {
		w.sent++
		w.queue(s).Deliver(broker.Message{Exchange: "e", RoutingKey: "k", Body: fmt.Append(nil, w.sent)})
	}
	synctest.Wait()
}

func (w *world) queue(s *broker.Subscription) *brokertest.FakeQueue {
	w.t.Helper()
	q := w.fake.Queue(s.Stream())
	if q == nil {
		w.t.Fatal("the subscription has no queue")
	}
	return q
}

func (w *world) attach(s *broker.Subscription, start broker.Start) *broker.Attachment {
	w.t.Helper()
	a, err := s.Attach(broker.AttachSpec{Start: start})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(a.Close)
	return a
}

// read takes all that is ready and writes each frame as a short word: message
// 5 is "5", others are their type and what distinguishes them.
func (w *world) read(a *broker.Attachment) string {
	w.t.Helper()
	var words []string
	for {
		frames, err := a.Next(nil, 16, 1<<20)
		if err != nil {
			return strings.Join(append(words, "END "+reasonOf(err)), " ")
		}
		if len(frames) == 0 {
			return strings.Join(words, " ")
		}
		for _, f := range frames {
			words = append(words, w.word(a, f))
		}
		a.Handed()
	}
}

func (w *world) word(a *broker.Attachment, f broker.Frame) string {
	w.t.Helper()
	var v struct {
		ID       string                             `json:"id"`
		Payload  int                                `json:"payload"`
		Missed   *int                               `json:"missed"`
		Reason   string                             `json:"reason"`
		Since    string                             `json:"since"`
		Resumed  bool                               `json:"resumed"`
		Scope    string                             `json:"scope"`
		Bindings []struct{ Exchange, State string } `json:"bindings"`
	}
	if err := json.Unmarshal(f.JSON(), &v); err != nil {
		w.t.Fatalf("%v: %s", err, f.JSON())
	}
	id := strings.TrimPrefix(v.ID, a.Subscription().Stream())
	switch f.Kind() { //nolint:exhaustive // the others are written as their type and scope
	case broker.KindMessage:
		return fmt.Sprint(v.Payload)
	case broker.KindGap:
		missed := "null"
		if v.Missed != nil {
			missed = fmt.Sprint(*v.Missed)
		}
		s := fmt.Sprintf("gap(%s %s %s", id, v.Reason, missed)
		if v.Since != "" {
			s += " since " + strings.TrimPrefix(v.Since, a.Subscription().Stream())
		}
		return s + ")"
	case broker.KindReady:
		if v.Resumed {
			return "resumed(" + id + ")"
		}
		return "ready(" + id + ")"
	case broker.KindBindings:
		s := "bindings(" + id
		for _, b := range v.Bindings {
			s += " " + b.Exchange
			if b.State != "bound" {
				s += ":" + b.State
			}
		}
		return s + ")"
	}
	return f.Kind().String() + "(" + v.Scope + ")"
}

func (w *world) want(a *broker.Attachment, want string) {
	w.t.Helper()
	if got := w.read(a); got != want {
		w.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// fails is wantCode for who does not look at the error itself.
func (w *world) fails(err error, code broker.Code) {
	w.t.Helper()
	_ = w.wantCode(err, code)
}

func (w *world) wantCode(err error, code broker.Code) *broker.Error {
	w.t.Helper()
	if broker.CodeOf(err) != code {
		w.t.Fatalf("error is %v, want %s", err, code)
	}
	return broker.AsError(err)
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // virtual: every test here runs in a synctest bubble
}

func at(s *broker.Subscription, offset uint64) broker.Start {
	return broker.Start{After: broker.Position{Stream: s.Stream(), Offset: offset}}
}

// wokenWithin reports whether a token comes into the attachment's Wake.
func wokenWithin(a *broker.Attachment, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	select {
	case <-a.Wake():
		return true
	case <-ctx.Done():
		return false
	}
}

func reasonOf(err error) string {
	if end, ok := errors.AsType[*broker.End](err); ok {
		return string(end.Reason)
	}
	return err.Error()
}
