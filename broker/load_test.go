package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-gateway/warren/broker"
)

func TestLoadTellsWhoLagsAndByHowMuch(t *testing.T) {
	inWorld(t, func(l *broker.Limits) { l.LogFrames = 50 }, func(t *testing.T, w *world) {
		s := w.create("e")
		current := w.attach(s, broker.Start{From: broker.FromLatest})
		stuck := w.attach(s, broker.Start{From: broker.FromLatest})
		w.read(current)
		w.read(stuck)
		want := func(what string, events uint64, age time.Duration) {
			t.Helper()
			lagging := 0
			load := s.Load(func(_ broker.Transport, lag broker.Lag) {
				if lag.Events > 0 {
					lagging++
				}
			})
			if load.Lag != (broker.Lag{Events: events, Age: age}) || (events > 0) != (lagging == 1) || load.SSE != 2 || load.State != broker.StateActive {
				t.Errorf("%s: %+v, %d lag; want %d events, %v", what, load, lagging, events, age)
			}
		}
		want("at first", 0, 0)
		w.deliver(s, 1)
		pass(3 * time.Second)
		w.deliver(s, 9)
		w.read(current)
		want("ten behind", 10, 3*time.Second)
		w.deliver(s, 100)
		w.read(current)
		want("its place evicted", 110, 0)
		w.read(stuck)
		want("at the end", 0, 0)
		if load := s.Load(nil); load.LogBytes <= 0 || load.LogBytes != s.Snapshot().LogBytes {
			t.Errorf("log of %d bytes", load.LogBytes)
		}
	})
}

func TestRateIsThatOfTheLastSeconds(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		if rate := s.Load(nil).Rate; rate != 0 {
			t.Errorf("at first: %v", rate)
		}
		for range 30 {
			w.deliver(s, 20)
			pass(time.Second)
		}
		// It is never too low, and at most a second's worth too high.
		if rate := s.Load(nil).Rate; rate < 20 || rate > 24 {
			t.Errorf("20 a second: %v", rate)
		}
		pass(11 * time.Second)
		synctest.Wait()
		if rate := s.Load(nil).Rate; rate != 0 {
			t.Errorf("silence: %v", rate)
		}
	})
}

func TestLiveIsWhatCameWhileTheAttachmentWasReading(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.create("e")
		w.deliver(s, 3)
		a := w.attach(s, broker.Start{From: broker.FromEarliest})
		want := func(what, frames string, live bool) {
			t.Helper()
			if got := w.step(a); got != frames || a.Live() != live {
				t.Errorf("%s: %q, live %v; want %q, %v", what, got, a.Live(), frames, live)
			}
		}
		want("the past", "ready(.0) 1 2 3", false)
		w.deliver(s, 1)
		want("the present", "4", true)
		a.Pause()
		w.deliver(s, 1)
		want("paused", "paused(attachment)", true)
		a.Resume()
		want("what came in the pause", "resumed(attachment) 5", false)
		w.deliver(s, 1)
		want("the present again", "6", true)
		s.Pause()
		w.deliver(s, 1)
		want("all paused", "paused(subscription)", true)
		s.Resume()
		want("what came in that pause", "resumed(subscription) 7", false)
	})
}

// step is read for one call of Next.
func (w *world) step(a *broker.Attachment) string {
	w.t.Helper()
	frames, err := a.Next(nil, 16, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	words := make([]string, 0, len(frames))
	for _, f := range frames {
		words = append(words, w.word(a, f))
	}
	return strings.Join(words, " ")
}
