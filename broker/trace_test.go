package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// recorder is a tracer that follows the messages with a header, and writes down what it hears.
type recorder struct {
	mu      sync.Mutex // guards all below
	asked   int
	written []string
}

func (r *recorder) Received(_ string, m *broker.Message) broker.Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if m.Properties.Headers["follow"] == nil {
		return nil
	}
	return recorded{r, string(m.Body)}
}

type recorded struct {
	*recorder

	body string
}

func (r recorded) Written(t broker.Transport, _ time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = append(r.written, fmt.Sprintf("%s by %d", r.body, t))
}

func (r *recorder) heard() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := fmt.Sprint(r.written)
	r.written = nil
	return heard
}

// follow runs a test over a core with options of its own.
func follow(t *testing.T, options broker.Options, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, fake: brokertest.NewFake()}
		options.Source = w.fake
		if options.Limits == (broker.Limits{}) {
			options.Limits = broker.DefaultLimits()
		}
		w.broker = broker.New(options)
		test(t, w)
		if err := w.broker.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.fake.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// take reads once, and hands nothing over.
func take(t *testing.T, a *broker.Attachment) {
	t.Helper()
	if _, err := a.Next(nil, 100, 1<<20); err != nil {
		t.Fatal(err)
	}
}

// say delivers one message.
func (w *world) say(s *broker.Subscription, body string, p broker.Properties) {
	w.t.Helper()
	w.queue(s).Deliver(broker.Message{Exchange: "e", Body: []byte(body), Properties: p})
	synctest.Wait()
}

func TestTraceEndsWithTheFirstWriteOfItsMessage(t *testing.T) {
	r := &recorder{}
	follow(t, broker.Options{Tracer: r}, func(t *testing.T, w *world) {
		followed := broker.Properties{Headers: broker.Table{"follow": true}}
		s := w.create("e")
		w.say(s, "a", followed) // before anybody attaches
		late := w.attach(s, broker.Start{From: broker.FromLatest})
		take(t, late)
		late.Handed()
		if got := r.heard(); got != "[]" {
			t.Errorf("a reader that never got a message ended its trace: %s", got)
		}
		early := w.attach(s, broker.Start{From: broker.FromEarliest})
		w.say(s, "b", broker.Properties{})
		w.say(s, "c", followed)
		take(t, late)
		if got := r.heard(); got != "[]" {
			t.Errorf("a trace ended before its message was handed over: %s", got)
		}
		late.Handed()
		if got := r.heard(); got != "[c by 0]" {
			t.Errorf("the first write of c: %s", got)
		}
		take(t, early)
		early.Handed()
		if got := r.heard(); got != "[a by 0]" {
			t.Errorf("the first write of a, the second of c: %s", got)
		}
		early.Handed()
		if got := r.heard(); got != "[]" || r.asked != 3 {
			t.Errorf("once more: %s; asked %d times", got, r.asked)
		}
	})
}

func TestTracesOfEvictedMessagesAreForgotten(t *testing.T) {
	r := &recorder{}
	limits := broker.DefaultLimits()
	limits.LogFrames = 2
	follow(t, broker.Options{Tracer: r, Limits: limits}, func(_ *testing.T, w *world) {
		followed := broker.Properties{Headers: broker.Table{"follow": true}}
		s := w.create("e")
		for _, body := range []string{"a", "b", "c", "d"} {
			w.say(s, body, followed)
		}
		all := w.attach(s, broker.Start{From: broker.FromEarliest})
		take(w.t, all)
		all.Handed()
		if got := r.heard(); got != "[c by 0 d by 0]" {
			w.t.Errorf("ended: %s", got)
		}
	})
}

func TestFramesKnowHowOldTheirMessageIs(t *testing.T) {
	// In a bubble it is midnight of 2000-01-01 at first.
	const start = 946684800
	stamped := func(seconds uint64) broker.Properties {
		return broker.Properties{Timestamp: seconds, HasTimestamp: true}
	}
	header := func(v any) broker.Properties {
		return broker.Properties{Timestamp: start - 7, HasTimestamp: true, Headers: broker.Table{"ms": v}}
	}
	for name, c := range map[string]struct {
		header     string
		properties broker.Properties
		age        time.Duration
		known      bool
	}{
		"no stamp":                {"", broker.Properties{}, 0, false},
		"five seconds ago":        {"", stamped(start - 5), 5 * time.Second, true},
		"now":                     {"", stamped(start), 0, true},
		"clock a little ahead":    {"", stamped(start + 3), 0, true},
		"in milliseconds":         {"", stamped(start * 1000), 0, false},
		"nothing but zero":        {"", stamped(0), 0, false},
		"more than any clock has": {"", stamped(1 << 63), 0, false},
		"header":                  {"ms", header(int64(start*1000 - 250)), 250 * time.Millisecond, true},
		"header in words":         {"ms", header("946684799999"), time.Millisecond, true},
		"header of another type":  {"ms", header(true), 0, false},
		"header from Mars":        {"ms", header(float64(1e300)), 0, false},
		"header unsigned":         {"ms", header(uint64(1<<64 - 1)), 0, false},
		"no such header":          {"other", header(int64(start * 1000)), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			follow(t, broker.Options{LatencyHeader: c.header}, func(t *testing.T, w *world) {
				s := w.create("e")
				w.say(s, "x", c.properties)
				a := w.attach(s, broker.Start{From: broker.FromEarliest})
				frames, err := a.Next(nil, 10, 1<<20)
				if err != nil || len(frames) != 2 {
					t.Fatalf("%d frames, %v", len(frames), err)
				}
				if age, known := frames[1].Age(); age != c.age || known != c.known {
					t.Errorf("age is %v, %v, want %v, %v", age, known, c.age, c.known)
				}
				if frames[0].Received() != 0 || frames[1].Received() != time.Since(broker.Epoch()) {
					t.Errorf("received at %v and %v", frames[0].Received(), frames[1].Received())
				}
			})
		})
	}
}
