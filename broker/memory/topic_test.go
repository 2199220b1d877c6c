package memory_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/memory"
)

// words are few, so that random patterns and keys often meet.
var patternWords = rapid.SampledFrom([]string{"a", "b", "", "*", "#"})

// endKey reaches every queue and says that what was published before it came.
const endKey = "end"

// TestTopicExchangeAgreesWithPattern holds the trie to broker.Pattern, over
// binding, unbinding and queues with several bindings.
func TestTopicExchangeAgreesWithPattern(t *testing.T) {
	rapid.Check(t, checkTopicExchange)
}

func checkTopicExchange(t *rapid.T) {
	b := memory.New(memory.Options{Prefetch: 100})
	end, err := broker.NewBinding("amq.direct", endKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(t.Context()) }()
	queues := make([]*brokertest.Inbox, 3)
	bound := make([]map[string]broker.Binding, len(queues))
	for i := range queues {
		q, err := brokertest.Open(t.Context(), b, broker.QueueSpec{Bindings: []broker.Binding{end}})
		if err != nil {
			t.Fatal(err)
		}
		queues[i], bound[i] = q, make(map[string]broker.Binding)
	}
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		i := rapid.IntRange(0, len(queues)-1).Draw(t, "queue")
		text := strings.Join(rapid.SliceOfN(patternWords, 0, 5).Draw(t, "words"), ".")
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0, 1:
			changeBinding(t, queues[i], bound[i], text)
		case 2:
			for key := range bound[i] {
				changeBinding(t, queues[i], bound[i], key)
				break
			}
		case 3:
			checkRouting(t, b, queues, bound, text)
		}
	}
}

// changeBinding unbinds a pattern that is bound, and binds another unless it has
// more # than a pattern may have.
func changeBinding(t *rapid.T, q broker.Queue, bound map[string]broker.Binding, text string) {
	if have, there := bound[text]; there {
		if err := q.Unbind(t.Context(), []broker.Binding{have}); err != nil {
			t.Fatal(err)
		}
		delete(bound, text)
		return
	}
	fresh, err := broker.NewBinding("amq.topic", text, nil)
	if strings.Count(text, "#") > 3 {
		if broker.CodeOf(err) != broker.CodeInvalidRequest {
			t.Fatalf("a pattern of more than three #: %v", err)
		}
		return
	}
	if err == nil {
		err = q.Bind(t.Context(), []broker.Binding{fresh})
	}
	if err != nil {
		t.Fatal(err)
	}
	bound[text] = fresh
}

func checkRouting(t *rapid.T, b *memory.Broker, queues []*brokertest.Inbox, bound []map[string]broker.Binding, key string) {
	routed, err := b.Publish("amq.topic", key, broker.Properties{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish("amq.direct", endKey, broker.Properties{}, nil); err != nil {
		t.Fatal(err)
	}
	wantRouted := false
	for i, q := range queues {
		want := false
		for text := range bound[i] {
			p, err := broker.ParsePattern(text)
			if err != nil {
				t.Fatal(err)
			}
			want = want || p.Match(key)
		}
		wantRouted = wantRouted || want
		if got := untilTheEnd(t, q); got > 1 || (got == 1) != want {
			t.Fatalf("key %q came %d times, patterns %v", key, got, bound[i])
		}
	}
	if routed != wantRouted {
		t.Fatalf("routed is %v", routed)
	}
}

// untilTheEnd counts what comes before the message that ends a round.
func untilTheEnd(t *rapid.T, q *brokertest.Inbox) (got int) {
	for {
		d, ok := (<-q.Events()).(*broker.Delivery)
		if !ok {
			t.Fatal("not a delivery")
		}
		q.Ack(d.Tag)
		if d.Exchange != "amq.topic" {
			return got
		}
		got++
	}
}

func FuzzTopicExchangeAgreesWithPattern(f *testing.F) {
	for _, seed := range [][2]string{{"#", ""}, {"a.*.#", "a.b"}, {"#.a.#.a.#", "a.b.a"}, {"..", "."}, {"*", ""}, {"#.#", "x"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, key string) {
		p, err := broker.ParsePattern(pattern)
		want, bindErr := broker.NewBinding("amq.topic", pattern, nil)
		if err != nil || bindErr != nil || len(key) > broker.MaxShortString {
			return
		}
		b := memory.New(memory.Options{})
		q, err := b.Open(t.Context(), broker.QueueSpec{Bindings: []broker.Binding{want}})
		if err != nil {
			t.Fatal(err)
		}
		routed, err := b.Publish("amq.topic", key, broker.Properties{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if routed != p.Match(key) {
			t.Errorf("%q on %q: routed %v", pattern, key, routed)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkPublish publishes to queues that all have a binding, as many as are
// matched; the sinks keep up.
func BenchmarkPublish(b *testing.B) {
	cases := []struct {
		name, exchange, key string
		pattern             func(i int) string
		queues              int
	}{
		{"fanout/1", "amq.fanout", "", func(int) string { return "" }, 1},
		{"fanout/1000", "amq.fanout", "", func(int) string { return "" }, 1000},
		{"direct/1of1000", "amq.direct", "k7", func(i int) string { return fmt.Sprint("k", i) }, 1000},
		{"topic/1of10000", "amq.topic", "linux.k7.warren.passed", func(i int) string { return fmt.Sprint("*.k", i, ".#") }, 10000},
		{"topic/unrouted", "amq.topic", "linux.amd64.warren.passed", func(i int) string { return fmt.Sprint("#.k", i) }, 10000},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			m := memory.New(memory.Options{})
			for i := range c.queues {
				spec := broker.QueueSpec{Bindings: []broker.Binding{binding(b, c.exchange, c.pattern(i), nil)}}
				q, err := m.Open(b.Context(), spec)
				if err != nil {
					b.Fatal(err)
				}
				q.Start(&acker{queue: q})
			}
			body := make([]byte, 256)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Publish(c.exchange, c.key, broker.Properties{}, body); err != nil {
					b.Fatal(err)
				}
			}
			if err := m.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// acker is a sink that acknowledges in batches, as the core does.
type acker struct {
	queue broker.Queue
	tag   uint64
}

func (a *acker) Take(e broker.Event) {
	if d, ok := e.(*broker.Delivery); ok {
		if a.tag = d.Tag; a.tag%128 == 0 {
			a.queue.Ack(a.tag)
		}
	}
}

func (a *acker) Flush() { a.queue.Ack(a.tag) }
