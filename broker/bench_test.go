package broker

import (
	"fmt"
	"strings"
	"testing"
)

// benchStream is a stream id of the usual length.
const benchStream = "0123456789abcdefg"

// benchMessage is a message with a JSON body of the size, as publishers send them.
func benchMessage(size int) *Message {
	body := `{"t":"2026-01-02T03:04:05Z","p":"`
	return &Message{
		Exchange: "orders", RoutingKey: "orders.created.eu",
		Properties: Properties{ContentType: "application/json", MessageID: "1234567890"},
		Body:       []byte(body + strings.Repeat("x", size-len(body)-2) + `"}`),
	}
}

func benchFrame(size int, offset uint64) Frame {
	var w frameWriter
	return w.message(Position{Stream: benchStream, Offset: offset}, benchMessage(size), PayloadAuto)
}

// BenchmarkFrame encodes a message, which happens once however many read it.
func BenchmarkFrame(b *testing.B) {
	for _, size := range []int{256, 4096} {
		for _, kind := range []struct {
			name string
			mode PayloadMode
		}{{"json", PayloadAuto}, {"raw", PayloadRaw}} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, size), func(b *testing.B) {
				var w frameWriter
				m := benchMessage(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for i := uint64(1); b.Loop(); i++ {
					w.message(Position{Stream: benchStream, Offset: i}, m, kind.mode)
				}
			})
		}
	}
}

// BenchmarkLogAppend appends to a full log, so that each append evicts as well.
func BenchmarkLogAppend(b *testing.B) {
	r := newRing(16_384, 8<<20)
	f := benchFrame(256, 1)
	for range 20_000 {
		r.append(f)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.append(f)
	}
}

// BenchmarkLogRead is a cursor that reads batches of a full log, as far as it goes, and begins again.
func BenchmarkLogRead(b *testing.B) {
	for _, batch := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			const frames = 16_384
			r := newRing(frames, 64<<20)
			for i := uint64(1); i <= frames; i++ {
				r.append(benchFrame(256, i))
			}
			dst := make([]Frame, 0, batch)
			after := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				if dst = r.read(dst[:0], after, batch, 64<<20); len(dst) < batch {
					after = 0
				}
				after += uint64(len(dst))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/frame")
		})
	}
}

// BenchmarkTally counts the messages of a gap in a log with many exceptions.
func BenchmarkTally(b *testing.B) {
	var t tally
	const events = 100_000
	for o := uint64(1); o <= events; o++ {
		missed := int64(1)
		if o%50 == 0 {
			missed = 7
		}
		t.note(o, missed)
	}
	b.ReportAllocs()
	for b.Loop() {
		if t.between(events/2, events) < events/2 {
			b.Fatal("a gap stands for fewer messages than events")
		}
	}
}

// BenchmarkPosition reads and writes an event id, as each reconnecting reader asks for.
func BenchmarkPosition(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		p, err := ParsePosition(benchStream + ".1234567")
		if err != nil {
			b.Fatal(err)
		}
		buf = p.append(buf[:0])
	}
}
