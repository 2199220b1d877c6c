package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// reach names the exchanges of what Reach answers, with "…" if that is not all.
func reach(s *broker.Subscription) string {
	bindings, complete := s.Reach()
	var names []string
	for _, b := range bindings {
		names = append(names, b.Exchange())
	}
	if !complete {
		names = append(names, "…")
	}
	return strings.Join(names, " ")
}

func TestReachHasWhatTheLogMayHold(t *testing.T) {
	const frames, backlog, batch = 4, 3, 128
	limits := func(l *broker.Limits) { l.LogFrames, l.QueueBacklog = frames, backlog }
	inWorld(t, limits, func(t *testing.T, w *world) {
		s := w.create("a", "b")
		if err := s.Unbind(t.Context(), w.bindings("b")); err != nil {
			t.Fatal(err)
		}
		for n := 2; n < backlog+batch+frames-1; n += 2 { // and the marker of the change
			w.deliver(s, 2)
			if got := reach(s); got != "a b" {
				t.Fatalf("after %d messages the reach is %q", n, got)
			}
		}
		w.deliver(s, 2)
		if got := reach(s); got != "a" {
			t.Errorf("in the end the reach is %q", got)
		}
	})
}

func TestReachHasWhatWasInForceForAMoment(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a")
		refused := broker.Errorf(broker.CodeExchangeNotFound, "no such exchange")
		w.fake.Fail(brokertest.OpBind, refused.WithBinding(0))
		w.fails(s.Bind(t.Context(), w.bindings("b")), broker.CodeExchangeNotFound)
		if got := reach(s); got != "a" {
			t.Errorf("after one that was refused: %q", got)
		}
		w.fake.Fail(brokertest.OpBind, refused.WithBinding(1))
		w.fails(s.Bind(t.Context(), w.bindings("c", "d", "e")), broker.CodeExchangeNotFound)
		if got := reach(s); got != "a c e" {
			t.Errorf("after one of three that was refused: %q", got)
		}
		w.fake.Fail(brokertest.OpBind, broker.Errorf(broker.CodeBrokerTimeout, "slow"))
		w.fails(s.Bind(t.Context(), w.bindings("f")), broker.CodeBrokerTimeout)
		w.fake.Fail(brokertest.OpUnbind, broker.Errorf(broker.CodeBrokerUnavailable, "gone"))
		w.fails(s.Replace(t.Context(), w.bindings("g")), broker.CodeBrokerUnavailable)
		if got := reach(s); got != "a c e f g" {
			t.Errorf("after one that nobody knows of, and one that was taken back: %q", got)
		}
	})
}

// comeAndGo binds and unbinds 300 bindings, one after the other.
func (w *world) comeAndGo(s *broker.Subscription) {
	w.t.Helper()
	for i := range 300 {
		b := w.bindings(fmt.Sprint(i))
		if err := s.Bind(w.t.Context(), b); err != nil {
			w.t.Fatal(err)
		}
		if err := s.Unbind(w.t.Context(), b); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestReachSaysWhenItDoesNotKnowAll(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create()
		w.comeAndGo(s)
		bindings, complete := s.Reach()
		if complete || len(bindings) != 128 || bindings[127].Exchange() != "299" {
			t.Errorf("%d bindings, complete %v", len(bindings), complete)
		}
	})
	limits := func(l *broker.Limits) { l.LogFrames, l.QueueBacklog = 1, 0 }
	inWorld(t, limits, func(t *testing.T, w *world) {
		s := w.create()
		w.comeAndGo(s)
		if _, complete := s.Reach(); !complete {
			t.Error("those that are not known any more have left the log")
		}
	})
}

func TestReplaceThatCanTakeNothingBackSaysSo(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a")
		gone := broker.Errorf(broker.CodeBrokerUnavailable, "gone")
		w.fake.Fail(brokertest.OpUnbind, gone, gone)
		w.fails(s.Replace(t.Context(), w.bindings("b")), broker.CodeBrokerUnavailable)
		if got := reach(s); len(w.queue(s).Bindings()) != 2 || got != "a b" || len(s.Bindings()) != 2 {
			t.Errorf("the queue has %v, the subscription %q", w.queue(s).Bindings(), got)
		}
		if err := s.UnbindID(t.Context(), w.bindings("b")[0].ID()); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatWasBoundForAMomentIsNotMissingWhenItIsBoundAgain(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a")
		release := w.fake.Hold(brokertest.OpBind)
		w.fake.Fail(brokertest.OpBind, broker.Errorf(broker.CodeBrokerTimeout, "slow"))
		failed := make(chan error)
		go func() { failed <- s.Bind(t.Context(), w.bindings("b")) }()
		synctest.Wait()
		w.queue(s).LoseBindings(w.bindings("b")[0].ID())
		synctest.Wait()
		release()
		w.fails(<-failed, broker.CodeBrokerTimeout)
		a := w.attach(s, broker.Start{})
		w.read(a)
		if err := s.Bind(t.Context(), w.bindings("b")); err != nil {
			t.Fatal(err)
		}
		if got := w.read(a); !strings.HasSuffix(got, " a b)") {
			t.Errorf("got %s", got)
		}
	})
}

func TestChangeThatTheEndOvertakesSaysSo(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a")
		release := w.fake.Hold(brokertest.OpBind)
		w.fake.Fail(brokertest.OpBind, broker.Errorf(broker.CodeBrokerUnavailable, "the queue is gone"))
		failed := make(chan error)
		go func() { failed <- s.Bind(t.Context(), w.bindings("b")) }()
		synctest.Wait()
		s.End(broker.EndDeleted)
		release()
		w.fails(<-failed, broker.CodeSubscriptionNotFound)
	})
}

func TestArgumentsOfASubscriptionAreBounded(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create()
		large := func(name string) []broker.Binding {
			b, err := broker.NewBinding(name, "", broker.Table{"x": strings.Repeat("x", 40<<10)})
			if err != nil {
				t.Fatal(err)
			}
			return []broker.Binding{b}
		}
		if err := s.Bind(t.Context(), large("a")); err != nil {
			t.Fatal(err)
		}
		w.fails(s.Bind(t.Context(), large("b")), broker.CodeInvalidRequest)
		if err := s.Replace(t.Context(), large("b")); err != nil {
			t.Error(err)
		}
	})
}

func TestTokensThatAreShownInAnyOrderOnlyExtend(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s, err := w.broker.Create(t.Context(), broker.Spec{Bindings: w.bindings("e"), Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(3 * time.Hour)
		s.Extend(later)
		s.Extend(later.Add(-time.Hour))
		if got := s.Snapshot().Expires; w.attach(s, broker.Start{}) == nil || !s.Snapshot().Expires.Equal(later) {
			t.Errorf("it ends at %v", got)
		}
	})
}

func TestANewLingerCountsFromNow(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create()
		pass(50 * time.Second)
		s.SetLinger(20 * time.Second)
		pass(15 * time.Second)
		if _, there := w.broker.Get(s.ID()); !there {
			t.Fatal("it ended too soon")
		}
		pass(6 * time.Second)
		if _, there := w.broker.Get(s.ID()); there {
			t.Error("it is still there")
		}
	})
}
