package rabbitmq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// frame makes an AMQP frame.
func frame(typ byte, channel uint16, payload []byte) []byte {
	b := append([]byte{typ}, binary.BigEndian.AppendUint16(nil, channel)...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xCE)
}

func method(id uint32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, id), rest...)
}

// contentHeader makes a content header's payload with a content type, a table as headers (nil: none) and a priority.
func contentHeader(contentType string, table []byte) []byte {
	b := make([]byte, headerPropsAt)
	flags := uint16(0x0800) // priority
	if contentType != "" {
		flags |= flagContentType
	}
	if table != nil {
		flags |= flagHeaders
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	if contentType != "" {
		b = append(append(b, byte(len(contentType))), contentType...)
	}
	if table != nil {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(table))), table...)
	}
	return append(b, 7)
}

func field(name string, kind byte, value ...byte) []byte {
	return append(append(append([]byte{byte(len(name))}, name...), kind), value...)
}

func long(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

func nested(levels int) []byte {
	var t []byte
	for range levels {
		t = field("t", 'F', long(t)...)
	}
	return t
}

func TestFramesPassUnchangedSaveUnreadableHeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		good := [][]byte{nil, {}, field("a", 'V'), nested(30), field("x", 'A', long([]byte{'t', 1, 'V'})...), field("d", 'd', 1, 2, 3, 4, 5, 6, 7, 8)}
		bad := [][]byte{nested(40), field("a", 'L', 1, 2, 3, 4, 5, 6, 7, 8), field("s", 'S', 0, 0, 0, 9), bytes.Repeat(field("n", 'V'), maxFieldElements+1), {5, 'x'}}
		var in, want []byte
		poisoned := 0
		for range rapid.IntRange(1, 20).Draw(t, "frames") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				f := frame(frameTypeMethod, 1, method(60<<16|60, 1, 2, 3))
				in, want = append(in, f...), append(want, f...)
			case 1:
				f := frame(3, 1, make([]byte, rapid.SampledFrom([]int{0, 1, 300, 70_000, 131_000}).Draw(t, "body")))
				in, want = append(in, f...), append(want, f...)
			case 2:
				f := frame(frameTypeHeader, 1, contentHeader(rapid.SampledFrom([]string{"", "text/plain"}).Draw(t, "type"), rapid.SampledFrom(good).Draw(t, "good")))
				in, want = append(in, f...), append(want, f...)
			case 3:
				typ := rapid.SampledFrom([]string{"", "text/plain"}).Draw(t, "type")
				in = append(in, frame(frameTypeHeader, 1, contentHeader(typ, rapid.SampledFrom(bad).Draw(t, "bad")))...)
				want = append(want, frame(frameTypeHeader, 1, contentHeader(typ, nil))...)
				poisoned++
			case 4:
				f := frame(8, 0, nil)
				in, want = append(in, f...), append(want, f...)
			}
		}
		var src io.Reader = bytes.NewReader(in)
		if rapid.Bool().Draw(t, "halves") {
			src = iotest.HalfReader(src)
		}
		counted := 0
		r := newFrameReader(src, func() { counted++ })
		var got []byte
		p := make([]byte, rapid.SampledFrom([]int{1, 7, 4096, 40_000, 200_000}).Draw(t, "read"))
		for {
			n, err := r.Read(p)
			got = append(got, p[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came, want %d", len(got), len(want))
		}
		if counted != poisoned {
			t.Fatalf("%d poisoned, want %d", counted, poisoned)
		}
	})
}

func TestContentHeaderAboveTheAgreedSizeIsRefused(t *testing.T) {
	for _, begin := range [][]byte{
		{frameTypeHeader, 0, 1, 0x7f, 0xff, 0xff, 0xff}, {frameTypeHeader, 0, 1, 0, 0x10, 0, 0}, {frameTypeMethod, 0, 1, 0, 2, 0, 0},
	} {
		if _, err := io.ReadAll(newFrameReader(bytes.NewReader(begin), func() {})); !errors.Is(err, errFrameTooLarge) {
			t.Errorf("% x: got %v", begin, err)
		}
	}
}

func TestGuardDropsWhatIsSentOnAClosedChannel(t *testing.T) {
	const ack, bind = 60<<16 | 80, 50<<16 | 20
	opened, closed := frame(1, 3, method(methodChannelOpen, 0)), frame(1, 3, method(methodChannelClose, 0))
	closeOK := frame(1, 3, method(methodChannelCloseOk))
	acked, bound := frame(1, 3, method(ack, 9)), frame(1, 3, method(bind, make([]byte, 9000)...))
	other := frame(1, 4, method(ack, 9))
	for _, c := range []struct {
		name     string
		in, want [][]byte
	}{
		{"open channel", [][]byte{opened, acked, bound, other, closed}, [][]byte{opened, acked, bound, other, closed}},
		{"after close", [][]byte{opened, closed, acked, other, bound}, [][]byte{opened, closed, other}},
		{"after close-ok", [][]byte{opened, closeOK, bound, other, acked, other, closed}, [][]byte{opened, closeOK, other, other}},
		{"both close", [][]byte{opened, closed, closeOK, acked}, [][]byte{opened, closed, closeOK}},
		{"closed twice by the broker", [][]byte{opened, closeOK, closeOK, acked, other}, [][]byte{opened, closeOK, other}},
		{"opened again", [][]byte{closed, acked, opened, acked}, [][]byte{closed, opened, acked}},
		{"opened again after close-ok", [][]byte{closeOK, opened, acked, closeOK}, [][]byte{closeOK, opened, acked, closeOK}},
		{"handshake", [][]byte{[]byte("AMQP\x00\x00\x09\x01"), other}, [][]byte{[]byte("AMQP\x00\x00\x09\x01"), other}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pieces [][]byte // as bufio writes
			for _, f := range c.in {
				pieces = slices.AppendSeq(pieces, slices.Chunk(f, 4096))
			}
			wantPassed(t, pieces, c.want)
			if c.name != "handshake" { // The protocol header always comes alone.
				wantPassed(t, [][]byte{bytes.Join(c.in, nil)}, c.want)
			}
		})
	}
}

// wantPassed checks what of these writes passes a new guard.
func wantPassed(t *testing.T, writes, want [][]byte) {
	t.Helper()
	var g guard
	var got []byte
	for _, w := range writes {
		if err := g.filter(w, func(p []byte) error { got = append(got, p...); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if want := bytes.Join(want, nil); !bytes.Equal(got, want) {
		t.Errorf("%d bytes passed, want %d", len(got), len(want))
	}
}
