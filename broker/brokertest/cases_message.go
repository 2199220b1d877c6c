package brokertest

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

func messageCases() []testCase {
	return []testCase{
		{name: "Message/PropertiesArriveAsPublished", run: messageProperties, scripted: true},
		{name: "Message/HeaderValuesArriveAsPublished", run: messageHeaders, scripted: true},
		{name: "Message/BodiesArriveAsPublished", run: messageBodies, scripted: true},
		{name: "Message/ExchangeAndKeyAreThoseOfThePublisher", run: messageOrigin},
		{name: "Message/EachPublishersOrderIsKept", run: messageOrder, scripted: true},
	}
}

// messageProperties leaves out UserID, which a broker holds against the
// publisher's login, and ClusterID, which AMQP 0-9-1 deprecates.
func messageProperties(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	for _, p := range []broker.Properties{
		{},
		{
			ContentType: "application/json", ContentEncoding: "gzip", DeliveryMode: 2, Priority: 7,
			CorrelationID: "c-1", ReplyTo: "answers", Expiration: "600000", MessageID: "m-1",
			Timestamp: 1_700_000_000, HasTimestamp: true, Type: "build.passed", AppID: "ci",
			Headers: broker.Table{"n": int64(1)},
		},
		{DeliveryMode: 1, MessageID: "ü", ContentType: "text/plain; charset=utf-8"},
		{Timestamp: 1_700_000_000_123, HasTimestamp: true},
		{Type: "only"},
	} {
		s.publishWith(e, "k", p, nil)
		got := r.delivery().Properties
		if len(got.Headers) == 0 && len(p.Headers) == 0 {
			got.Headers, p.Headers = nil, nil
		}
		if !reflect.DeepEqual(got, p) {
			s.Errorf("got  %+v\nwant %+v", got, p)
		}
	}
}

// headerValues has a value of each type of the closed set that AMQP 0-9-1 as
// RabbitMQ speaks it can carry: that has no unsigned 64 bits.
func headerValues() broker.Table {
	return broker.Table{
		"nil":             nil,
		"true":            true,
		"false":           false,
		"zero":            int64(0),
		"negative":        int64(-1),
		"largest":         int64(1<<63 - 1),
		"smallest":        int64(-1 << 63),
		"single":          float32(1.5),
		"double":          float64(-2.25),
		"string":          "text",
		"empty":           "",
		"not utf-8":       "\xff\xfe",
		"long":            strings.Repeat("x", 5000),
		"bytes":           []byte{0, 1, 255},
		"decimal":         broker.Decimal{Scale: 2, Value: 12345},
		"decimal below 0": broker.Decimal{Scale: 3, Value: -1},
		"timestamp":       broker.Timestamp(1_700_000_000),
		"table":           broker.Table{"a": "b", "inner": broker.Table{"n": int64(1)}},
		"array":           []any{int64(1), "two", nil, []any{true}, broker.Table{"k": float64(0.5)}},
		"ключ":            "значение",
	}
}

func messageHeaders(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	s.publishWith(e, "k", broker.Properties{Headers: headerValues()}, nil)
	got, want := r.delivery().Properties.Headers, headerValues()
	for name, v := range want {
		if have, there := got[name]; !there || !reflect.DeepEqual(have, v) {
			s.Errorf("header %q: got %#v, want %#v", name, have, v)
		}
	}
	if len(got) != len(want) {
		s.Errorf("%d headers came, want %d", len(got), len(want))
	}
}

func messageBodies(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	for _, body := range [][]byte{
		nil,
		[]byte("x"),
		{0, 255, 10, 13},
		[]byte(`{"json":true}`),
		bytes.Repeat([]byte("0123456789abcdef"), 1<<16), // 1 MiB, many AMQP frames
		bytes.Repeat([]byte{0}, 131072-8),               // exactly one frame of the usual size
	} {
		s.publishWith(e, "k", broker.Properties{}, body)
		if got := r.delivery().Body; !bytes.Equal(got, body) {
			s.Errorf("a body of %d bytes came as %d bytes, or others", len(body), len(got))
		}
	}
}

func messageOrigin(s *suite) {
	topic, fanout := s.exchange("topic"), s.exchange("fanout")
	r := s.open(s.binding(topic, "a.#"), s.binding(fanout, "unused"))
	for _, m := range []struct{ exchange, key string }{
		{topic, "a"}, {topic, "a.b"}, {fanout, "f"}, {fanout, ""}, {topic, "a." + strings.Repeat("k", broker.MaxShortString-2)},
	} {
		s.publish(m.exchange, m.key, "id")
		if d := r.delivery(); d.Exchange != m.exchange || d.RoutingKey != m.key {
			s.Errorf("got %s, want exchange %q and key %q", describe(d), m.exchange, m.key)
		}
	}
}

func messageOrder(s *suite) {
	const publishers, messages = 4, 50
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	var group sync.WaitGroup
	window := s.newWindow()
	for p := range publishers {
		group.Go(func() {
			for i := range messages {
				window.open()
				id := broker.Properties{MessageID: strconv.Itoa(i), AppID: strconv.Itoa(p)}
				if _, err := s.harness.Publish(s.ctx(), e, "k", id, nil); err != nil {
					s.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	next := make(map[string]int)
	for range publishers * messages {
		p := r.delivery().Properties
		if p.MessageID != strconv.Itoa(next[p.AppID]) {
			s.Errorf("publisher %s: message %s came, want %d", p.AppID, p.MessageID, next[p.AppID])
		}
		next[p.AppID]++
		window.close()
	}
	group.Wait()
}

func ackCases() []testCase {
	return []testCase{
		{name: "Ack/DeliveriesGoOnWhenAcknowledgedInBatches", run: ackBatches, scripted: true},
		{name: "Ack/RepeatsAndOldTagsAreIgnored", run: ackRepeats, scripted: true},
		{name: "Overflow/CountIsExact", run: overflowCounts, overflows: true},
	}
}

func ackBatches(s *suite) {
	const messages, batch = 400, 7
	e := s.exchange("direct")
	q, err := s.src.Open(s.ctx(), newSpec(s.binding(e, "k")))
	s.noError(err, "open")
	r := s.read(q, ackNever)
	window := s.newWindow()
	s.background(func() {
		for i := range messages {
			window.open()
			if _, err := s.harness.Publish(s.ctx(), e, "k", broker.Properties{MessageID: strconv.Itoa(i)}, nil); err != nil {
				s.Errorf("publish: %v", err)
				return
			}
		}
	})
	for i := range messages {
		d := r.delivery()
		if d.Properties.MessageID != strconv.Itoa(i) {
			s.Fatalf("got %s, want %d", describe(d), i)
		}
		if i%batch == 0 {
			r.Ack(d.Tag)
		}
		window.close()
	}
}

// window keeps publishers from running ahead of the reader further than any
// queue is long.
type window struct {
	places chan struct{}
	ended  <-chan struct{} // the case has, perhaps with places taken
}

func (s *suite) newWindow() window {
	return window{places: make(chan struct{}, 50), ended: s.Context().Done()}
}

func (w window) open() {
	select {
	case w.places <- struct{}{}:
	case <-w.ended:
	}
}

func (w window) close() { <-w.places }

// background runs f while the case goes on, and waits for it at the end.
func (s *suite) background(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	s.Cleanup(func() { <-done })
}

func ackRepeats(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	r.Ack(0)
	for i := range 10 {
		s.publish(e, "k", strconv.Itoa(i))
		d := r.delivery()
		r.Ack(d.Tag)
		r.Ack(d.Tag)
		r.Ack(d.Tag - 1)
	}
	s.publish(e, "k", "last")
	r.expect("last")
	s.noError(r.Close(s.ctx()), "close")
	r.Ack(1)
}

func overflowCounts(s *suite) {
	e := s.exchange("direct")
	q, err := s.src.Open(s.ctx(), newSpec(s.binding(e, "k")))
	s.noError(err, "open")
	r := s.read(q, ackNever)
	total := s.opts.Prefetch + s.opts.MaxLength + 25
	for i := range total {
		s.publish(e, "k", strconv.Itoa(i))
	}
	published := time.Now()

	at, missed, missing := -1, int64(0), int64(0)
	handle := func(ev broker.Event) {
		switch ev := ev.(type) {
		case *broker.Delivery:
			n, err := strconv.Atoi(ev.Properties.MessageID)
			if err != nil || n <= at {
				s.Fatalf("got %s after %d", describe(ev), at)
			}
			missing += int64(n - at - 1)
			at = n
		case *broker.Overflow:
			if ev.Missed <= 0 {
				s.Fatalf("an overflow of %d", ev.Missed)
			}
			if ev.Since.IsZero() || ev.Since.After(published) {
				s.Errorf("since %v is no time before the first was dropped", ev.Since)
			}
			missed += ev.Missed
		default:
			s.Fatalf("unexpected %s", describe(ev))
		}
	}
	for at+1 < s.opts.Prefetch {
		handle(r.next())
	}
	r.acknowledge()
	for at+1 < total || missed < missing {
		handle(r.next())
	}
	if missed != missing || missing == 0 {
		s.Errorf("%d messages did not come, %d were announced", missing, missed)
	}
}

// acknowledge acknowledges what came and, from now on, what comes.
func (r *reader) acknowledge() {
	r.mu.Lock()
	r.mode = ackTake
	tag := r.lastTag
	r.mu.Unlock()
	r.Ack(tag)
}
