package broker

import (
	"bytes"
	"testing"
	"time"
)

// silentQueue is a queue that takes everything and brings nothing.
type silentQueue struct{ Queue }

func (silentQueue) Ack(uint64) {}

// BenchmarkPump is what a message costs from receipt to the log, and whether
// tracing that is off adds to it where publishers send its headers.
func BenchmarkPump(b *testing.B) {
	for name, header := range map[string]string{"other header": "x-traceparen", "traceparent": "traceparent"} {
		b.Run(name, func(b *testing.B) {
			p, d := newTestPump(header)
			b.ReportAllocs()
			for b.Loop() {
				p.delivery(d)
				p.flush()
			}
		})
	}
}

func newTestPump(header string) (*pump, *Delivery) {
	b := &Broker{limits: DefaultLimits(), budget: newBudget(1 << 40)}
	s := b.newSubscription(Spec{Linger: time.Minute}, nil, "")
	s.queue = silentQueue{}
	return &s.pump, &Delivery{Message: Message{
		Exchange: "e", RoutingKey: "k", Body: []byte(`{"a":1}`),
		Properties: Properties{
			Headers:   Table{header: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
			Timestamp: 1, HasTimestamp: true,
		},
	}}
}

// TestIdleSubscriptionKeepsNoBuffer has one whose messages were large, and is over for now.
func TestIdleSubscriptionKeepsNoBuffer(t *testing.T) {
	p, d := newTestPump("x")
	d.Body = bytes.Repeat([]byte("1"), 57<<10)
	d.Properties.ContentType = "text/plain"
	for range pumpBatch + 1 {
		p.Take(d)
	}
	p.Flush()
	p.sub.log.shrink(0)
	a, err := p.sub.Attach(AttachSpec{Start: Start{After: Position{Stream: p.sub.stream, Offset: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if frames, err := a.Next(nil, 10, 1<<20); err != nil || len(frames) != 3 { // ready, gap and the newest
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if n := cap(p.frames.buf); n > 0 {
		t.Errorf("%d bytes are kept", n)
	}
}

func TestTracingThatIsOffAllocatesNothing(t *testing.T) {
	allocations := func(header string) float64 {
		p, d := newTestPump(header)
		a := &Attachment{sub: p.sub}
		var frames []Frame
		return testing.AllocsPerRun(2000, func() {
			p.delivery(d)
			p.flush()
			frames, _ = a.Next(frames[:0], 10, 1<<20)
			a.Handed()
		})
	}
	without, with := allocations("x-traceparen"), allocations("traceparent")
	if with > without || with > 4 {
		t.Errorf("%v allocations with traceparent, %v without", with, without)
	}
	p, d := newTestPump("traceparent")
	if n := testing.AllocsPerRun(100, func() {
		if p.sub.broker.trace(p.sub.stream, &d.Message) != nil || p.sub.broker.ageOf(&d.Properties, time.Time{}) != 0 {
			t.Error("somebody follows it")
		}
	}); n > 0 {
		t.Errorf("asking takes %v allocations", n)
	}
}
