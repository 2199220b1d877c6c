package rabbitmq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	amqp "github.com/rabbitmq/amqp091-go"
	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
)

// note is a sink that notes what it is given.
type note struct {
	got     []string
	flushed int // how many of them
	took    func(*broker.Delivery)
}

func (n *note) Take(e broker.Event) {
	d, ok := e.(*broker.Delivery)
	if ok && n.took != nil {
		n.took(d)
	}
	if !ok {
		n.got = append(n.got, fmt.Sprintf("%T", e))
	} else {
		n.got = append(n.got, fmt.Sprint(d.Tag, d.Exchange, d.RoutingKey, d.Properties.ContentType, d.Properties.Priority,
			d.Properties.Headers, len(d.Body), crc(d.Body)))
	}
}

func (n *note) Flush() { n.flushed = len(n.got) }

func crc(b []byte) (sum int) {
	for i, c := range b {
		sum += int(c) * (i + 1)
	}
	return sum
}

// consumerOf adds a consumer with that tag, whose messages the note gets.
func consumerOf(d *deliveries, tag string) *note {
	n := &note{}
	q := &queue{sink: n, src: &Source{closed: true}}
	c := &conn{link: &link{Connection: &amqp.Connection{}}}
	d.add(tag, &incarnation{q: q, conn: c, lane: &lane{}, stage: current})
	return n
}

func deliver(tag string, number uint64, exchange, key string) []byte {
	b := method(methodDeliver, append([]byte{byte(len(tag))}, tag...)...)
	b = append(binary.BigEndian.AppendUint64(b, number), 0)
	b = append(append(b, byte(len(exchange))), exchange...)
	return append(append(b, byte(len(key))), key...)
}

// message draws a message on a channel: its frames and what a note has of it.
func message(t *rapid.T, channel uint16, tag string, number uint64) (frames [][]byte, noted string) {
	body := bytes.Repeat([]byte{byte(number), 'x', 0xCE}, rapid.SampledFrom([]int{0, 1, 100, 30_000}).Draw(t, "size"))
	exchange, key := rapid.StringN(0, 20, 60).Draw(t, "exchange"), rapid.StringN(0, 20, 60).Draw(t, "key")
	table := rapid.SampledFrom([][]byte{nil, {}, field("a", 'V'), field("a", 't', 1), nested(40)}).Draw(t, "table")
	header := contentHeader("text/x", table)
	binary.BigEndian.PutUint64(header[headerPropsAt-8:], uint64(len(body)))
	frames = [][]byte{frame(frameTypeMethod, channel, deliver(tag, number, exchange, key)), frame(frameTypeHeader, channel, header)}
	for rest := body; len(rest) > 0; {
		n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
		frames = append(frames, frame(frameTypeBody, channel, rest[:n]))
		rest = rest[n:]
	}
	headers, _ := readTable(long(table))
	return frames, fmt.Sprint(number, exchange, key, "text/x", 7, headers, len(body), crc(body))
}

// TestMessagesToQueuesAreTakenOutOfWhatPasses has messages to consumers of ours and of the library on channels of their own,
// their frames mixed with each other and with other frames, come in pieces of any size.
func TestMessagesToQueuesAreTakenOutOfWhatPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const channels = 3
		lines := make([][][]byte, channels+1) // frames of each channel, in their order; the last is the library's
		want := make([][]string, channels)
		for channel := range channels {
			for n := range rapid.IntRange(0, 4).Draw(t, "messages") {
				frames, noted := message(t, uint16(channel+1), fmt.Sprint("c", channel), uint64(n+1))
				lines[channel] = append(lines[channel], frames...)
				want[channel] = append(want[channel], noted)
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "others") {
			body := frame(frameTypeBody, 9, make([]byte, rapid.SampledFrom([]int{1, 70_000}).Draw(t, "other body")))
			lines[channels] = append(lines[channels], frame(frameTypeMethod, 9, deliver("library", 1, "e", "k")),
				frame(frameTypeHeader, 9, contentHeader("x", nil)), body, frame(8, 0, nil))
		}
		passes := bytes.Join(lines[channels], nil)
		in := mixed(t, lines)
		var src io.Reader = bytes.NewReader(in)
		if rapid.Bool().Draw(t, "halves") {
			src = iotest.HalfReader(src)
		}
		r := newFrameReader(src, func() {})
		notes := make([]*note, channels)
		for i := range notes {
			notes[i] = consumerOf(&r.deliveries, fmt.Sprint("c", i))
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, passes) {
			t.Fatalf("%d bytes passed, want %d: %v", len(got), len(passes), err)
		}
		for i, n := range notes {
			if !slices.Equal(n.got, want[i]) || n.flushed != len(n.got) {
				t.Fatalf("got %q (%d flushed), want %q", n.got, n.flushed, want[i])
			}
		}
	})
}

// TestOfABodyAboveTheBoundTheSizeAloneIsKept has bodies come in frames of 64 KiB, at the bound and one byte above it.
func TestOfABodyAboveTheBoundTheSizeAloneIsKept(t *testing.T) {
	const bound = 200 << 10
	for _, size := range []int{bound, bound + 1, 64 << 20} {
		header := contentHeader("x", nil)
		binary.BigEndian.PutUint64(header[headerPropsAt-8:], uint64(size))
		parts := []io.Reader{bytes.NewReader(frame(frameTypeMethod, 1, deliver("c", 1, "e", "k"))), bytes.NewReader(frame(frameTypeHeader, 1, header))}
		piece := make([]byte, 64<<10)
		for rest := size; rest > 0; rest -= len(piece) {
			parts = append(parts, bytes.NewReader(frame(frameTypeBody, 1, piece[:min(rest, len(piece))])))
		}
		r := newFrameReader(io.MultiReader(parts...), func() {})
		r.deliveries.largest = bound
		n := consumerOf(&r.deliveries, "c")
		var got *broker.Delivery
		n.took = func(d *broker.Delivery) { got = keep(d) }
		if _, err := io.ReadAll(r); err != nil || got == nil {
			t.Fatalf("got %v, %v", got, err)
		}
		kept := len(got.Body)
		if size > bound {
			kept = got.Size
		}
		if kept != size || size > bound && cap(got.Body) > 0 {
			t.Errorf("of %d bytes: a body of %d, size %d", size, len(got.Body), got.Size)
		}
	}
}

// mixed draws an order of the frames of several lines, each of which stays in order.
func mixed(t *rapid.T, lines [][][]byte) (all []byte) {
	for {
		var open []int
		for i, line := range lines {
			if len(line) > 0 {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return all
		}
		i := rapid.SampledFrom(open).Draw(t, "line")
		all, lines[i] = append(all, lines[i][0]...), lines[i][1:]
	}
}

// TestAnIncarnationsMessagesWaitForItsTurn has messages come before the queue is theirs, and one that may have come before.
func TestAnIncarnationsMessagesWaitForItsTurn(t *testing.T) {
	n := &note{}
	q := &queue{sink: n, src: &Source{closed: true}, closing: make(chan struct{})}
	inc := &incarnation{q: q, conn: &conn{link: &link{Connection: &amqp.Connection{}}}, lane: &lane{}}
	body := []byte("one")
	inc.deliver(&broker.Delivery{Message: broker.Message{Body: body}}, 1, false)
	copy(body, "xxx") // the reader goes on
	inc.deliver(&broker.Delivery{}, 2, true)
	inc.deliver(&broker.Delivery{}, 3, false)
	if len(n.got) > 0 || len(inc.waiting) != 1 || string(inc.waiting[0].Body) != "one" || !inc.spoiled || inc.delivered.Load() != 3 {
		t.Errorf("got %q, %d wait, spoiled %v", n.got, len(inc.waiting), inc.spoiled)
	}
	q.mu.Lock()
	q.lastTag = 7
	q.post(&broker.Recovered{})
	q.enter(inc)
	q.mu.Unlock()
	one := fmt.Sprint(8, "", "", "", 0, broker.Table(nil), 3, crc([]byte("one")))
	want := []string{"*broker.Recovered", one, "*broker.Recovering"}
	if !slices.Equal(n.got, want) || n.flushed != len(want) || q.inc.Load() != nil {
		t.Errorf("got %q (%d flushed), want %q and its loss", n.got, n.flushed, want)
	}
	q.shut()
	inc.stage = current
	inc.deliver(&broker.Delivery{}, 4, true)
	if len(n.got) > len(want) {
		t.Errorf("a closed queue tells of %q", n.got)
	}
}

// TestAMessageCutShortCostsTheConnection has a method come on a channel where the rest of a message is due: its tag would never
// be settled, and the next one of ours on the channel taken for its rest.
func TestAMessageCutShortCostsTheConnection(t *testing.T) {
	in := append(frame(frameTypeMethod, 1, deliver("c", 1, "e", "k")), frame(frameTypeMethod, 1, method(methodChannelClose))...)
	r := newFrameReader(bytes.NewReader(in), func() {})
	consumerOf(&r.deliveries, "c")
	if passed, err := io.ReadAll(r); !errors.Is(err, errContent) || len(passed) > 0 {
		t.Errorf("%d bytes passed, %v", len(passed), err)
	}
}

// TestAQueueThatClosesHoldsUpNobodyOnItsChannel settles what a closed queue got and still gets before it is deleted.
func TestAQueueThatClosesHoldsUpNobodyOnItsChannel(t *testing.T) {
	c := &conn{}
	c.acks.init(c)
	x := &lane{conn: c, shared: true}
	q := &queue{sink: &note{}, src: &Source{closed: true}, closing: make(chan struct{})}
	inc := &incarnation{q: q, conn: c, lane: x, stage: current, tags: make([]uint64, 8)}
	q.inc.Store(inc)
	for tag := range uint64(3) {
		inc.deliver(&broker.Delivery{}, tag+1, false)
	}
	if x.ledger.low != 0 {
		t.Fatalf("settled up to %d before anybody acknowledged", x.ledger.low)
	}
	q.shut()
	inc.deliver(&broker.Delivery{}, 4, false)
	q.Ack(2) // late
	if x.ledger.low != 4 {
		t.Errorf("settled up to %d of 4", x.ledger.low)
	}
}

// TestAnExchangeDeletedBeforeTheStartIsTold has an exchange go between the binding and the start of a queue.
func TestAnExchangeDeletedBeforeTheStartIsTold(t *testing.T) {
	s := &Source{closed: true}
	s.exchanges.init(s)
	n := &note{}
	q := newQueue(s, broker.QueueSpec{Bindings: []broker.Binding{binding(t, "gone", "k"), binding(t, "there", "k")}})
	q.exchangeGone("gone")
	q.start(&conn{}, &incarnation{q: q, lane: &lane{}})
	q.Start(n)
	if !slices.Equal(n.got, []string{"*broker.BindingsLost"}) || n.flushed != 1 || !q.misses("gone") || q.misses("there") {
		t.Errorf("got %q (%d flushed), misses %v and %v", n.got, n.flushed, q.misses("gone"), q.misses("there"))
	}
	select {
	case name := <-s.exchanges.kick:
		if name != "gone" {
			t.Errorf("%q is looked for", name)
		}
	default:
		t.Error("nobody looks whether it is back")
	}
}

// FuzzDeliveries reads whatever a broker could send to a consumer of ours: it is refused or taken, and what is taken is flushed.
func FuzzDeliveries(f *testing.F) {
	whole := append(frame(frameTypeMethod, 1, deliver("c", 1, "e", "k")), headerFrame(nil)...)
	f.Add(whole)
	f.Add(append(whole, frame(frameTypeBody, 1, []byte("hi"))...))
	f.Add(append(whole, whole...))
	f.Add(frame(frameTypeMethod, 1, method(methodDeliver, 1, 'c')))
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(src io.Reader) (*note, []byte) {
			r := newFrameReader(src, func() {})
			n := consumerOf(&r.deliveries, "c")
			passed, err := io.ReadAll(r)
			if err != nil && !errors.Is(err, errFrameTooLarge) && !errors.Is(err, errFrameEnd) && !errors.Is(err, errContent) {
				t.Fatal(err)
			}
			return n, passed
		}
		n, passed := read(bytes.NewReader(data))
		slowly, again := read(iotest.OneByteReader(bytes.NewReader(data)))
		if n.flushed != len(n.got) || !slices.Equal(n.got, slowly.got) {
			t.Fatalf("got %q (%d flushed), byte by byte %q", n.got, n.flushed, slowly.got)
		}
		if !bytes.HasPrefix(passed, again) && !bytes.HasPrefix(again, passed) {
			t.Fatalf("%q passed, byte by byte %q", passed, again)
		}
	})
}
