package broker_test

import (
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/warren-gateway/warren/broker"
)

func small(l *broker.Limits) { l.LogFrames = 10 }

func TestReaderSeesEveryMessageInOrder(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		a := w.attach(s, broker.Start{})
		w.want(a, "ready(.0)")
		w.deliver(s, 3)
		w.want(a, "1 2 3")
		w.deliver(s, 2)
		w.want(a, "4 5")
		if got := w.queue(s).Acked(); got != 5 {
			t.Errorf("acknowledged up to %d", got)
		}
	})
}

func TestWhereAStreamStarts(t *testing.T) {
	other := broker.Start{After: broker.Position{Stream: "other", Offset: 3}}
	cases := []struct {
		name   string
		start  func(s *broker.Subscription) broker.Start
		want   string
		shared bool
	}{
		{name: "owned default is unread", want: "ready(.8) 9 10"},
		{name: "shared default is latest", want: "ready(.10)", shared: true},
		{name: "latest", start: from(broker.FromLatest, 0), want: "ready(.10)"},
		{name: "earliest", start: from(broker.FromEarliest, 0), want: "ready(.2) 3 4 5 6 7 8 9 10"},
		{name: "last 2", start: from(broker.FromLast, 2), want: "ready(.8) 9 10"},
		{name: "last of more than there are", start: from(broker.FromLast, 99), want: "ready(.2) 3 4 5 6 7 8 9 10"},
		{name: "last 0", start: from(broker.FromLast, 0), want: "ready(.10)"},
		{name: "after 7", start: after(7), want: "resumed(.7) 8 9 10"},
		{name: "after the newest", start: after(10), want: "resumed(.10)"},
		{name: "after the newest evicted", start: after(2), want: "resumed(.2) 3 4 5 6 7 8 9 10"},
		{name: "after one that is evicted", start: after(1), want: "resumed(.1) gap(.2 evicted 1) 3 4 5 6 7 8 9 10"},
		{name: "after the beginning", start: after(0), want: "resumed(.0) gap(.2 evicted 2) 3 4 5 6 7 8 9 10"},
		{name: "in the future", start: after(11), want: "ready(.11) gap(.2 unknown_position null) 3 4 5 6 7 8 9 10"},
		{
			name: "another stream", start: func(*broker.Subscription) broker.Start { return other },
			want: "ready(other.3) gap(.2 unknown_position null) 3 4 5 6 7 8 9 10",
		},
		{
			name: "malformed", start: func(*broker.Subscription) broker.Start { return broker.Start{Malformed: true} },
			want: "ready() gap(.2 unknown_position null) 3 4 5 6 7 8 9 10",
		},
		{
			name: "lost", start: func(*broker.Subscription) broker.Start { return broker.Start{After: other.After, Lost: true} },
			want: "ready(other.3) gap(.2 subscription_lost null) 3 4 5 6 7 8 9 10",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(l *broker.Limits) { l.LogFrames = 8 }, func(t *testing.T, w *world) {
				mk := w.create
				if c.shared {
					mk = w.share
				}
				s := mk("e")
				first := w.attach(s, broker.Start{})
				w.deliver(s, 8)
				w.read(first)
				first.Close()
				w.deliver(s, 2)
				var start broker.Start
				if c.start != nil {
					start = c.start(s)
				}
				w.want(w.attach(s, start), c.want)
			})
		})
	}
}

func from(f broker.From, n int) func(*broker.Subscription) broker.Start {
	return func(*broker.Subscription) broker.Start { return broker.Start{From: f, Last: n} }
}

func after(offset uint64) func(*broker.Subscription) broker.Start {
	return func(s *broker.Subscription) broker.Start { return at(s, offset) }
}

func TestReaderThatFallsBehindSeesOneExactGap(t *testing.T) {
	inWorld(t, small, func(t *testing.T, w *world) {
		s := w.create("e")
		slow, quick := w.attach(s, broker.Start{}), w.attach(s, broker.Start{})
		w.deliver(s, 3)
		w.want(slow, "ready(.0) 1 2 3")
		w.want(quick, "ready(.0) 1 2 3")
		for range 5 {
			w.deliver(s, 5)
			w.read(quick)
		}
		w.want(slow, "gap(.18 evicted 15) 19 20 21 22 23 24 25 26 27 28")
		if lag := slow.Lag(); lag != 0 {
			t.Errorf("lag is %d", lag)
		}
	})
}

func TestEvictedGapCountsWhatEvictedGapsStoodFor(t *testing.T) {
	inWorld(t, small, func(t *testing.T, w *world) {
		s := w.create("e")
		counted, unknown := w.attach(s, broker.Start{}), w.attach(s, broker.Start{})
		w.read(counted)
		w.read(unknown)
		w.queue(s).Deliver(broker.Message{Body: make([]byte, 1<<20+1)})
		w.queue(s).Overflow(40, time.Now())
		if err := s.Bind(t.Context(), w.bindings("f")); err != nil {
			t.Fatal(err)
		}
		w.deliver(s, 12)
		w.want(counted, "gap(.5 evicted 43) bindings(.5 e f) 3 4 5 6 7 8 9 10 11 12")
		w.queue(s).Recovering()
		w.queue(s).Recovered(broker.GapQueueLost)
		w.deliver(s, 10)
		w.want(unknown, "gap(.16 evicted null) bindings(.16 e f) 13 14 15 16 17 18 19 20 21 22")
	})
}

func TestMarkerThatWasEvictedFollowsTheGapOfAPositionThatIsLost(t *testing.T) {
	inWorld(t, small, func(t *testing.T, w *world) {
		s := w.create("e")
		s.Pause()
		a := w.attach(s, broker.Start{After: broker.Position{Stream: "other", Offset: 3}})
		w.want(a, "ready(other.3) paused(subscription)")
		if err := s.Bind(t.Context(), w.bindings("f")); err != nil {
			t.Fatal(err)
		}
		w.deliver(s, 12)
		s.Resume()
		w.want(a, "resumed(subscription) gap(.3 unknown_position null) bindings(.3 e f) 3 4 5 6 7 8 9 10 11 12")
	})
}

func TestFromEarliestNeverBeginsWithAGap(t *testing.T) {
	inWorld(t, small, func(t *testing.T, w *world) {
		s := w.create("e")
		a := w.attach(s, broker.Start{From: broker.FromEarliest})
		w.deliver(s, 15)
		w.want(a, "ready(.5) 6 7 8 9 10 11 12 13 14 15")
	})
}

func TestLatestOnAnOwnedSubscriptionLeavesTheRestUnread(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		w.deliver(s, 2)
		w.want(w.attach(s, broker.Start{From: broker.FromLatest}), "ready(.2)")
		w.want(w.attach(s, broker.Start{}), "ready(.0) 1 2")
	})
}

func TestOversizedMessageIsAGapOfTheLog(t *testing.T) {
	inWorld(t, func(l *broker.Limits) { l.MaxMessageBytes = 4 }, func(t *testing.T, w *world) {
		s := w.create("e")
		a := w.attach(s, broker.Start{})
		w.queue(s).Deliver(broker.Message{Exchange: "e", RoutingKey: "k", Body: []byte("1234")}, broker.Message{Body: []byte("12345")})
		synctest.Wait()
		w.want(a, "ready(.0) 1234 gap(.2 oversized 1)")
		w.queue(s).Send(&broker.Delivery{Message: broker.Message{Exchange: "e", RoutingKey: "k"}, Size: 5, Tag: 3}) // whose body nobody kept
		synctest.Wait()
		w.want(a, "gap(.3 oversized 1)")
		if got := w.queue(s).Acked(); got != 3 {
			t.Errorf("acknowledged up to %d", got)
		}
	})
}

func TestPausesOfAttachmentAndSubscriptionAreIndependent(t *testing.T) {
	inWorld(t, small, func(t *testing.T, w *world) {
		s := w.create("e")
		a, b := w.attach(s, broker.Start{}), w.attach(s, broker.Start{})
		w.read(a)
		w.read(b)
		a.Pause()
		s.Pause()
		w.want(a, "paused(subscription) paused(attachment)")
		w.want(b, "paused(subscription)")
		w.deliver(s, 2)
		w.want(w.attach(s, at(s, 77)), "ready(.77) paused(subscription)")
		s.Resume()
		w.want(a, "resumed(subscription)")
		w.want(b, "resumed(subscription) 1 2")
		w.deliver(s, 11)
		a.Resume()
		w.want(a, "resumed(attachment) gap(.3 evicted 3) 4 5 6 7 8 9 10 11 12 13")
	})
}

func TestWaitingReaderIsWokenOnceThereIsSomething(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		a := w.attach(s, broker.Start{})
		w.read(a)
		for len(a.Wake()) > 0 {
			<-a.Wake()
		}
		if wokenWithin(a, time.Second) {
			t.Error("woken for nothing")
		}
		for name, event := range map[string]func(){
			"message": func() { w.deliver(s, 1) },
			"pause":   a.Pause,
			"resume":  a.Resume,
			"end":     func() { a.End(broker.EndTokenExpired) },
		} {
			event()
			if !wokenWithin(a, time.Second) {
				t.Errorf("not woken by %s", name)
			}
			w.read(a)
		}
		w.want(a, "END token_expired")
	})
}

func TestAttachmentsThatComeAndGoLeaveNothingBehind(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		stay := w.attach(s, broker.Start{})
		w.read(stay)
		for range 100 {
			a := w.attach(s, broker.Start{})
			w.read(a)
			a.Close()
			a.Close()
		}
		if snap := s.Snapshot(); snap.SSE != 1 {
			t.Errorf("%d attachments", snap.SSE)
		}
		w.deliver(s, 1)
		if !wokenWithin(stay, time.Second) {
			t.Error("the one that stayed is not woken")
		}
	})
}

func TestNotifyIsCalledInPlaceOfWake(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		a := w.attach(s, broker.Start{})
		var calls wakeCount
		a.Notify(&calls)
		w.want(a, "ready(.0)")
		w.deliver(s, 1)
		w.want(a, "1")
		a.Pause()
		a.End(broker.EndShutdown)
		if calls != 4 { // at once, message, pause, end
			t.Errorf("called %d times", calls)
		}
	})
}

type wakeCount int

func (c *wakeCount) Woken() { *c++ }

func TestHeldAttachmentGetsNothingAndMissesNothing(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		a := w.attach(s, broker.Start{})
		w.want(a, "ready(.0)")
		a.Hold()
		a.Hold()
		w.deliver(s, 2)
		a.Release()
		w.want(a, "")
		a.Release()
		w.want(a, "1 2")
	})
}

// TestAttachmentIsTwoLines of 64 bytes, and begins on one: see the type. On 32 bits it is smaller.
func TestAttachmentIsTwoLines(t *testing.T) {
	if size := unsafe.Sizeof(broker.Attachment{}); size != 128 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("an attachment has %d bytes, and may begin within a line", size)
	}
}
