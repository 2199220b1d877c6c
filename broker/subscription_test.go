package broker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

func TestLingerStartsWithCreationAndWithTheLastDetach(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		pass(59 * time.Second)
		a := w.attach(s, broker.Start{})
		if !s.Snapshot().Expires.IsZero() {
			t.Error("an attached subscription has a time to end")
		}
		pass(time.Hour)
		a.Close()
		if want := time.Now().Add(time.Minute); !s.Snapshot().Expires.Equal(want) {
			t.Errorf("ends at %v, want %v", s.Snapshot().Expires, want)
		}
		pass(59 * time.Second)
		s.SetLinger(2 * time.Minute)
		pass(59 * time.Second)
		if _, ok := w.broker.Get(s.ID()); !ok {
			t.Fatal("ended too early")
		}
		pass(3 * time.Second)
		<-s.Done()
		if _, ok := w.broker.Get(s.ID()); ok || !w.queue(s).Closed() {
			t.Error("still there after its linger")
		}
		_, err := s.Attach(broker.AttachSpec{})
		w.fails(err, broker.CodeSubscriptionNotFound)
		w.fails(s.Bind(t.Context(), w.bindings("f")), broker.CodeSubscriptionNotFound)
	})
}

func TestOwnersTokenEndsTheSubscription(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s, err := w.broker.Create(t.Context(), broker.Spec{Bindings: w.bindings("e"), Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		a := w.attach(s, broker.Start{})
		s.Extend(time.Now().Add(50 * time.Hour)) // further away than the timer waits for at once
		pass(time.Hour + time.Minute)
		w.want(a, "ready(.0)")
		pass(48 * time.Hour)
		w.want(a, "")
		pass(time.Hour)
		w.want(a, "END subscription_expired")
	})
}

func TestDeleteEndsAttachmentsAndCallsOnEndOnce(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		ends := make(chan struct{}, 2)
		s, err := w.broker.Create(t.Context(), broker.Spec{OnEnd: func() { ends <- struct{}{} }})
		if err != nil {
			t.Fatal(err)
		}
		a := w.attach(s, broker.Start{})
		w.read(a)
		s.End(broker.EndDeleted)
		s.End(broker.EndExpired)
		<-s.Done()
		w.want(a, "END subscription_deleted")
		if len(ends) != 1 {
			t.Errorf("OnEnd was called %d times", len(ends))
		}
	})
}

func TestBindMarksTheStreamAndUndoesNothingOfOthers(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a")
		at := w.attach(s, broker.Start{})
		w.read(at)
		if err := s.Bind(t.Context(), w.bindings("a", "b", "b")); err != nil {
			t.Fatal(err)
		}
		w.deliver(s, 1)
		w.want(at, "bindings(.1 a b) 1")
		w.fake.Fail(brokertest.OpBind, broker.Errorf(broker.CodeExchangeNotFound, "no such exchange").WithBinding(1))
		err := s.Bind(t.Context(), w.bindings("a", "c", "d"))
		if e := w.wantCode(err, broker.CodeExchangeNotFound); e.Binding != 2 {
			t.Errorf("the index is %d, want that of the request, 2", e.Binding)
		}
		if err := s.Replace(t.Context(), w.bindings("b", "c")); err != nil {
			t.Fatal(err)
		}
		if err := s.UnbindID(t.Context(), w.bindings("c")[0].ID()); err != nil {
			t.Fatal(err)
		}
		w.fails(s.UnbindID(t.Context(), "nope"), broker.CodeBindingNotFound)
		if err := s.Unbind(t.Context(), w.bindings("b", "zz")); err != nil {
			t.Fatal(err)
		}
		w.want(at, "bindings(.3 b c) bindings(.4 b) bindings(.5)")
		if !s.HasBindings(w.bindings("a")) || !s.HasBindings(nil) || s.HasBindings(w.bindings("b")) {
			t.Error("it has other bindings than those it was made with, or has now")
		}
	})
}

func TestReplaceThatCannotUnbindTakesBackWhatItBound(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a")
		w.fake.Fail(brokertest.OpUnbind, broker.Errorf(broker.CodeBrokerUnavailable, "gone"))
		w.fails(s.Replace(t.Context(), w.bindings("b")), broker.CodeBrokerUnavailable)
		if got := w.queue(s).Bindings(); len(got) != 1 || got[0].Exchange() != "a" {
			t.Errorf("bound: %+v", got)
		}
	})
}

func TestCapsOfTheCore(t *testing.T) {
	limits := func(l *broker.Limits) { l.MaxBindings, l.MaxAttachments, l.MaxSubscriptions = 2, 1, 2 }
	inWorld(t, limits, func(t *testing.T, w *world) {
		s := w.create("a", "b")
		if e := w.wantCode(s.Bind(t.Context(), w.bindings("c")), broker.CodeLimitReached); e.Limit != "max-bindings" {
			t.Errorf("limit %q", e.Limit)
		}
		_, err := w.broker.Create(t.Context(), broker.Spec{Bindings: w.bindings("a", "b", "c")})
		w.fails(err, broker.CodeInvalidRequest)
		w.attach(s, broker.Start{})
		_, err = s.Attach(broker.AttachSpec{})
		w.fails(err, broker.CodeLimitReached)
		shared := w.share("a")
		w.attach(shared, broker.Start{})
		w.attach(shared, broker.Start{})
		_, err = w.broker.Create(t.Context(), broker.Spec{})
		w.fails(err, broker.CodeOverCapacity)
		s.End(broker.EndDeleted)
		<-s.Done()
		w.create("a")
		w.fails(shared.Bind(t.Context(), nil), broker.CodeSharedSubscription)
	})
}

func TestWhoSharesACreationThatIsRefusedIsToldOfItsOwnBinding(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		release := w.fake.Hold(brokertest.OpOpen)
		w.fake.Fail(brokertest.OpOpen, broker.Errorf(broker.CodeExchangeNotFound, "").WithBinding(1))
		var group sync.WaitGroup
		ask := func(index int, exchanges ...string) {
			group.Go(func() {
				_, err := w.broker.Share(t.Context(), broker.Spec{Bindings: w.bindings(exchanges...)})
				if e := broker.AsError(err); e == nil || e.Code != broker.CodeExchangeNotFound || e.Binding != index {
					t.Errorf("%v: %+v", exchanges, err)
				}
			})
			synctest.Wait()
		}
		ask(1, "a", "missing") // the first makes it
		ask(0, "missing", "a")
		ask(2, "a", "a", "missing")
		release()
		group.Wait()
	})
}

func TestStreamsThatAskForTheSameShareOneCreation(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		release := w.fake.Hold(brokertest.OpOpen)
		var group sync.WaitGroup
		got := make(chan *broker.Subscription, 50)
		for i := range 50 {
			order := w.bindings("a", "b")
			if i%2 == 1 {
				order = w.bindings("b", "a", "b")
			}
			group.Go(func() {
				s, err := w.broker.Share(t.Context(), broker.Spec{Bindings: order})
				if err != nil {
					t.Error(err)
				}
				got <- s
			})
		}
		synctest.Wait()
		release()
		group.Wait()
		first := <-got
		for range 49 {
			if <-got != first {
				t.Fatal("two subscriptions for one set of bindings")
			}
		}
		if n := len(w.fake.Calls(brokertest.OpOpen)); n != 1 {
			t.Errorf("%d queues were opened", n)
		}
	})
}

func TestLeaderThatIsNotAdmittedRefusesNobodyElse(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		refused := errors.New("too many")
		asked := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			_, err := w.broker.Share(t.Context(), broker.Spec{Bindings: w.bindings("a"), Admit: func() error {
				<-asked
				return refused
			}})
			if !errors.Is(err, refused) {
				t.Errorf("the leader got %v", err)
			}
		})
		synctest.Wait()
		group.Go(func() {
			if _, err := w.broker.Share(t.Context(), broker.Spec{Bindings: w.bindings("a")}); err != nil {
				t.Errorf("the follower got %v", err)
			}
		})
		synctest.Wait()
		close(asked)
		group.Wait()
	})
}

func TestRecoveryIsAGapAndShowsMissingBindings(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a", "b")
		a := w.attach(s, broker.Start{})
		w.deliver(s, 1)
		q, b := w.queue(s), w.bindings("b")[0]
		q.Recovering()
		synctest.Wait()
		s.Pause()
		if got := s.Snapshot().State; got != broker.StateRecovering {
			t.Errorf("state is %s", got)
		}
		s.Resume()
		q.Recovered(broker.GapBrokerReconnected, b.ID())
		w.deliver(s, 1)
		w.want(a, "ready(.0) 1 gap(.2 broker_reconnected null) bindings(.3 a b:missing) 2")
		q.RestoreBindings(b.ID())
		q.LoseBindings(b.ID())
		q.LoseBindings(b.ID(), "of nobody")
		w.deliver(s, 1)
		w.want(a, "bindings(.5 a b) gap(.6 binding_lost null) bindings(.7 a b:missing) 3")
		if got := s.Snapshot(); got.State != broker.StateActive || got.Gaps != 2 || got.Received != 3 || got.Newest.Offset != 8 {
			t.Errorf("%+v", got)
		}
	})
}

func TestOverflowSaysAfterWhichEventSomethingIsMissing(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("a")
		a := w.attach(s, broker.Start{})
		w.deliver(s, 2)
		pass(5 * time.Second)
		before := time.Now()
		pass(5 * time.Second)
		w.deliver(s, 2)
		w.queue(s).Overflow(7, before)
		w.queue(s).Overflow(-1, time.Now().Add(-time.Hour))
		synctest.Wait()
		w.want(a, "ready(.0) 1 2 3 4 gap(.5 queue_overflow 7 since .2) gap(.6 queue_overflow null since .0)")
	})
}

func TestBudgetShrinksLargeLogsAndSparesSmallOnes(t *testing.T) {
	limits := func(l *broker.Limits) { l.MemoryBudget = 256 << 10 }
	inWorld(t, limits, func(t *testing.T, w *world) {
		idle, quiet, busy := w.create("a"), w.create("b"), w.create("c")
		w.deliver(quiet, 3)
		w.deliver(idle, 800)
		for range 200 {
			w.deliver(busy, 10)
			if s := w.broker.Stats(); s.LogBytes > s.MemoryBudget {
				t.Fatalf("%d bytes of %d", s.LogBytes, s.MemoryBudget)
			}
		}
		if got := quiet.Snapshot(); got.Evicted != 0 {
			t.Errorf("a small log lost %d events", got.Evicted)
		}
		big, small := busy.Snapshot().LogBytes, idle.Snapshot().LogBytes
		if idle.Snapshot().Evicted == 0 || big < small*3/4 {
			t.Errorf("the idle log holds %d, the busy one %d", small, big)
		}
	})
}

func TestCloseWaitsForCreationsUnderWay(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		release := w.fake.Hold(brokertest.OpOpen)
		failed := make(chan error, 1)
		go func() {
			_, err := w.broker.Create(context.WithoutCancel(t.Context()), broker.Spec{})
			failed <- err
		}()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- w.broker.Close(t.Context()) }()
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("Close returned while a queue was being made")
		}
		release()
		w.fails(<-failed, broker.CodeShuttingDown)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		_, err := w.broker.Create(t.Context(), broker.Spec{})
		w.fails(err, broker.CodeShuttingDown)
	})
}
