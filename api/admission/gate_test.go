package admission

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newGate(limits Limits) (*Gate, *clock) {
	g := New(limits)
	c := &clock{time.Unix(1_000_000, 0)}
	g.now = c.now
	return g, c
}

func refusal(t *testing.T, err error) *broker.Error {
	t.Helper()
	var e *broker.Error
	if !errors.As(err, &e) {
		t.Fatalf("not refused: %v", err)
	}
	return e
}

func TestRetryAfterIsWhenTheSameRequestPasses(t *testing.T) {
	limits := DefaultLimits()
	limits.RequestRate, limits.RequestBurst = 4, 3
	g, c := newGate(limits)
	for range 3 {
		if err := g.Request("a"); err != nil {
			t.Fatal(err)
		}
	}
	e := refusal(t, g.Request("a"))
	if e.Code != broker.CodeRateLimited || e.Limit != LimitRequests || e.RetryAfter != 250*time.Millisecond {
		t.Errorf("refused with %+v", e)
	}
	if err := g.Request("b"); err != nil {
		t.Errorf("another caller: %v", err)
	}
	c.at = c.at.Add(e.RetryAfter - time.Millisecond)
	e = refusal(t, g.Request("a"))
	c.at = c.at.Add(e.RetryAfter)
	if err := g.Request("a"); err != nil {
		t.Errorf("after the time it was told: %v", err)
	}
}

func TestCreationRefusedForTheProcessCostsTheCallerNothing(t *testing.T) {
	limits := DefaultLimits()
	limits.CreateRate, limits.CreateRatePerCaller, limits.CreateBurstPerCaller = 1, 0.001, 1
	g, c := newGate(limits)
	if err := g.Create("a"); err != nil {
		t.Fatal(err)
	}
	if e := refusal(t, g.Create("b")); e.Code != broker.CodeOverCapacity || e.Limit != LimitCreatesTotal || e.RetryAfter != time.Second {
		t.Errorf("refused with %+v", e)
	}
	c.at = c.at.Add(time.Second)
	if err := g.Create("b"); err != nil {
		t.Errorf("b paid for a refusal: %v", err)
	}
	c.at = c.at.Add(time.Second)
	if e := refusal(t, g.Create("b")); e.Code != broker.CodeRateLimited || e.Limit != LimitCreates || e.RetryAfter < 900*time.Second {
		t.Errorf("refused with %+v", e)
	}
	if err := g.Create("c"); err != nil {
		t.Errorf("the process paid for b's refusal: %v", err)
	}
}

func TestZeroRateRefusesWithAFiniteTime(t *testing.T) {
	g, _ := newGate(Limits{})
	if e := refusal(t, g.Request("a")); e.RetryAfter != time.Hour {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	if e := refusal(t, g.Create("a")); e.RetryAfter != time.Hour {
		t.Errorf("retry after %v", e.RetryAfter)
	}
}

func TestOldestThatCanGivesWay(t *testing.T) {
	limits := DefaultLimits()
	limits.SubscriptionsPerCaller = 3
	g, _ := newGate(limits)
	var ended []string
	take := func(name string, attached *bool) *Slot {
		t.Helper()
		s, err := g.Owned("a", math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		if attached != nil {
			s.Yields(func() bool { return !*attached }, func() bool {
				if !*attached {
					ended = append(ended, name)
				}
				return !*attached
			})
		}
		if err := s.Settle(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	yes, no := true, false
	kept := take("kept", nil)
	take("attached", &yes)
	second := take("second", &no)
	take("third", &no)
	take("fourth", &yes)
	if fmt.Sprint(ended) != "[second third]" {
		t.Errorf("gave way: %v", ended)
	}
	if e := refusal(t, func() error { _, err := g.Owned("a", math.MaxInt); return err }()); e.Code != broker.CodeLimitReached || e.Limit != LimitSubscriptions || e.RetryAfter == 0 {
		t.Errorf("refused with %+v", e)
	}
	second.Release() // its end, which comes later, counts no second time
	if c := g.Counts(); c.Owned != 3 {
		t.Errorf("owned %d", c.Owned)
	}
	if len(ended) != 2 {
		t.Errorf("gave way in vain: %v", ended)
	}
	kept.Release()
	if _, err := g.Owned("a", 2); err == nil {
		t.Error("the token's own bound is not kept")
	}
	if _, err := g.Owned("a", 100); err != nil {
		t.Errorf("a token widens nothing, and narrows nothing here: %v", err)
	}
	if _, err := g.Owned("b", 0); err == nil {
		t.Error("a token that allows none allows one")
	}
}

// TestNothingGivesWayInVain: neither for what cannot be made, nor where it would not help.
func TestNothingGivesWayInVain(t *testing.T) {
	limits := DefaultLimits()
	limits.SubscriptionsPerCaller = 3
	g, _ := newGate(limits)
	attached, ended := [3]bool{}, 0
	for i := range attached {
		s, err := g.Owned("a", math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		s.Yields(func() bool { return !attached[i] }, func() bool {
			if !attached[i] {
				ended++
			}
			return !attached[i]
		})
	}
	if _, err := g.Owned("a", 0); err == nil || ended > 0 {
		t.Errorf("a token that allows none: %v, %d gave way", err, ended)
	}
	failed, err := g.Owned("a", math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Owned("a", 3); err != nil || ended != 1 { // a second one meanwhile
		t.Errorf("beside one that is being made: %v, %d gave way", err, ended)
	}
	failed.Release()
	if c := g.Counts(); c.Owned != 3 || ended != 1 {
		t.Errorf("%d owned, %d gave way", c.Owned, ended)
	}
	late, err := g.Owned("a", math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	attached = [3]bool{true, true, true} // all of them, before it is made
	if err := late.Settle(); err == nil {
		t.Error("above the bound")
	}
	late.Release()
	if _, err := g.Owned("a", math.MaxInt); err == nil || ended != 1 {
		t.Errorf("all are attached: %v, %d gave way", err, ended)
	}
}

func TestNewerTokenExtendsAndOlderDoesNotShorten(t *testing.T) {
	g, _ := newGate(DefaultLimits())
	early, late := time.Unix(100, 0), time.Unix(300, 0)
	got := map[string]time.Time{}
	for name, at := range map[string]time.Time{"early": early, "late": late} {
		s, err := g.Owned("a", math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		s.Expires(at, func(at time.Time) { got[name] = at })
	}
	g.Renew("a", time.Unix(200, 0))
	g.Renew("nobody", time.Unix(500, 0))
	if len(got) != 1 || !got["early"].Equal(time.Unix(200, 0)) {
		t.Errorf("extended %v", got)
	}
}

func TestTokenThatIsShownDuringACreationCounts(t *testing.T) {
	g, _ := newGate(DefaultLimits())
	s, err := g.Owned("a", math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	g.Renew("a", time.Unix(200, 0))
	var got time.Time
	s.Expires(time.Unix(100, 0), func(at time.Time) { got = at })
	if !got.Equal(time.Unix(200, 0)) {
		t.Errorf("extended to %v", got)
	}
	if g.Renew("a", time.Unix(150, 0)); !got.Equal(time.Unix(200, 0)) {
		t.Errorf("then to %v", got)
	}
}

func TestCallersThatAreIdleAreForgotten(t *testing.T) {
	limits := DefaultLimits()
	g, c := newGate(limits)
	held, err := g.Stream("holder")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		if err := g.Request(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		c.at = c.at.Add(time.Millisecond)
	}
	// Those of the last 20 ms to the full bucket, and what came since the last sweep.
	if n := g.Counts().Callers; n > 4*minSweep {
		t.Errorf("%d callers are remembered", n)
	}
	held.Release()
	if got := g.Counts(); got.Streams != 0 {
		t.Errorf("counts %+v", got)
	}
}

func TestFullTableMakesNewcomersShareAndForgetsNobody(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxCallers, limits.StreamsPerCaller = 2, 1
	g, _ := newGate(limits)
	var held []*Slot
	for _, key := range []string{"a", "b", "c"} {
		s, err := g.Stream(key)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, s)
	}
	if _, err := g.Stream("d"); err == nil {
		t.Error("d has a place of its own")
	}
	if _, err := g.Stream("a"); err == nil {
		t.Error("a was forgotten")
	}
	for _, s := range held {
		s.Release()
	}
	if got := g.Counts(); got.Streams != 0 || got.Callers > 2 {
		t.Errorf("counts %+v", got)
	}
}

// TestStreamThatMovesCountsOnce has one that says later whose it is, at the process's bound and at its caller's.
func TestStreamThatMovesCountsOnce(t *testing.T) {
	limits := DefaultLimits()
	limits.Streams, limits.StreamsPerCaller = 2, 1
	g, _ := newGate(limits)
	first, err := g.Stream("address")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Move("a"); err != nil {
		t.Fatal(err)
	}
	second, err := g.Stream("address")
	if err != nil {
		t.Fatalf("the address has none any more: %v", err)
	}
	if e := refusal(t, second.Move("a")); e.Code != broker.CodeLimitReached || e.Limit != LimitStreams {
		t.Errorf("refused with %+v", e)
	}
	if err := second.Move("b"); err != nil {
		t.Errorf("the process is at its bound, and there is no new stream: %v", err)
	}
	first.Release()
	second.Release()
	for _, key := range []string{"address", "a", "b"} {
		s, err := g.Stream(key)
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
		s.Release()
	}
	if got := g.Counts(); got.Streams != 0 {
		t.Errorf("counts %+v", got)
	}
}

// storm is a gate under random calls, and a naive count beside it.
type storm struct {
	gate           *Gate
	clock          *clock
	limits         Limits
	held           map[*Slot]bool // true: owned
	streams, owned int
}

var anyCaller = rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})

func newStorm(t *rapid.T) *storm {
	limits := DefaultLimits()
	limits.SubscriptionsPerCaller = rapid.IntRange(0, 4).Draw(t, "subscriptions per caller")
	limits.StreamsPerCaller = rapid.IntRange(0, 4).Draw(t, "streams per caller")
	limits.Streams = rapid.IntRange(0, 8).Draw(t, "streams")
	limits.MaxCallers = rapid.IntRange(1, 4).Draw(t, "callers")
	limits.RequestBurst, limits.CreateBurstPerCaller = 2, 2
	g, c := newGate(limits)
	return &storm{gate: g, clock: c, limits: limits, held: map[*Slot]bool{}}
}

func (s *storm) stream(t *rapid.T) {
	if slot, err := s.gate.Stream(anyCaller.Draw(t, "caller")); err == nil {
		s.held[slot] = false
		s.streams++
	}
}

func (s *storm) own(t *rapid.T) {
	slot, err := s.gate.Owned(anyCaller.Draw(t, "caller"), rapid.IntRange(-1, 3).Draw(t, "token"))
	if err != nil {
		return
	}
	if rapid.Bool().Draw(t, "it cannot be made") {
		slot.Release()
		return
	}
	s.held[slot] = true
	s.owned++
	if err := slot.Settle(); err != nil {
		t.Fatal("nobody is attached, and none gave way")
	}
	if rapid.Bool().Draw(t, "made by a stream") {
		slot.Yields(func() bool { return true }, func() bool { s.forget(slot); return true })
	}
}

func (s *storm) forget(slot *Slot) {
	if owned, ok := s.held[slot]; ok && owned {
		s.owned--
	} else if ok {
		s.streams--
	}
	delete(s.held, slot)
	slot.Release()
}

func (s *storm) release(*rapid.T) {
	for slot := range s.held {
		s.forget(slot)
		slot.Release()
		return
	}
}

func (s *storm) move(t *rapid.T) {
	for slot, owned := range s.held {
		if !owned {
			_ = slot.Move(anyCaller.Draw(t, "caller"))
			return
		}
	}
}

func (s *storm) request(t *rapid.T) {
	key := anyCaller.Draw(t, "caller")
	_ = s.gate.Request(key)
	_ = s.gate.Create(key)
}

func (s *storm) check(t *rapid.T) {
	got := s.gate.Counts()
	if got.Streams != s.streams || got.Owned != s.owned || got.Streams > s.limits.Streams || got.Callers > s.limits.MaxCallers {
		t.Fatalf("counts %+v, want %d streams and %d owned", got, s.streams, s.owned)
	}
	for slot, owned := range s.held {
		if n := len(slot.caller.owned); owned && n > s.limits.SubscriptionsPerCaller {
			t.Fatalf("a caller has %d", n)
		}
		if n := slot.caller.streams; n > s.limits.StreamsPerCaller {
			t.Fatalf("a caller has %d streams", n)
		}
	}
}

func TestCountsReturnToZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStorm(t)
		t.Repeat(map[string]func(*rapid.T){
			"stream": s.stream, "own": s.own, "move": s.move, "release": s.release, "request": s.request, "": s.check,
			"time": func(t *rapid.T) {
				s.clock.at = s.clock.at.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			},
		})
		for len(s.held) > 0 {
			s.release(t)
		}
		if got := s.gate.Counts(); got.Streams != 0 || got.Owned != 0 {
			t.Fatalf("counts %+v", got)
		}
	})
}

func TestSpentAnswersWhatRequestWouldAndCountsNothing(t *testing.T) {
	limits := DefaultLimits()
	limits.RequestRate, limits.RequestBurst = 4, 2
	g, c := newGate(limits)
	for range 10 {
		if err := g.Spent("a"); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := g.Request("a"); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		if e := refusal(t, g.Spent("a")); e.Code != broker.CodeRateLimited || e.RetryAfter != 250*time.Millisecond {
			t.Fatalf("refused with %+v", e)
		}
	}
	c.at = c.at.Add(250 * time.Millisecond)
	if err := g.Request("a"); err != nil {
		t.Errorf("asking cost something: %v", err)
	}
}
