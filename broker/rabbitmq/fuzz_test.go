package rabbitmq

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// headerFrame is a content header with these headers; nil are none.
func headerFrame(table []byte) []byte { return frame(frameTypeHeader, 1, contentHeader("x", table)) }

// FuzzFrames reads whatever a broker could send: what the reader hands on does not depend on how it came in, is all of it
// save the headers that it takes off, and needs nothing taken off any more.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\xce"))
	f.Add(headerFrame([]byte("\x01at\x01")))
	f.Add(headerFrame([]byte("\x01a?")))
	f.Add(append(headerFrame(nil), "\x03\x00\x01\x00\x00\x00\x02hi\xce"...))
	f.Add([]byte("\x02\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, poisoned, err := readFrames(bytes.NewReader(data))
		if err != nil && !errors.Is(err, errFrameTooLarge) && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if poisoned == 0 && !bytes.HasPrefix(data, out) {
			t.Fatalf("%q became %q", data, out)
		}
		slowly, again, _ := readFrames(iotest.OneByteReader(bytes.NewReader(data)))
		if !bytes.Equal(slowly, out) && !bytes.HasPrefix(slowly, out) && !bytes.HasPrefix(out, slowly) || again < 0 {
			t.Fatalf("%q, byte by byte %q", out, slowly)
		}
		if _, more, _ := readFrames(bytes.NewReader(out)); more > 0 && err == nil {
			t.Fatalf("%q is not readable yet", out)
		}
	})
}

func readFrames(src io.Reader) (out []byte, poisoned int, err error) {
	r := newFrameReader(src, func() { poisoned++ })
	buf := make([]byte, 64)
	for {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if err != nil {
			return out, poisoned, err
		}
	}
}

// FuzzTable puts headers as a publisher may write them into a message: either all of them are handed on or none.
func FuzzTable(f *testing.F) {
	for _, table := range []string{
		"", "\x01at\x01", "\x01aV", "\x01aS\x00\x00\x00\x01x", "\x01aF\x00\x00\x00\x03\x01bV", "\x01aA\x00\x00\x00\x02VV", "\x01aD\x02\x00\x00\x00\x01", "\x01a?", "\xff",
	} {
		f.Add([]byte(table))
	}
	f.Fuzz(func(t *testing.T, table []byte) {
		if len(table) > frameSize-100 {
			return
		}
		whole := headerFrame(append([]byte{}, table...))
		out, poisoned, err := readFrames(bytes.NewReader(whole))
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if poisoned == 0 && bytes.Equal(out, whole) {
			return
		}
		if poisoned != 1 || !bytes.Equal(out, headerFrame(nil)) {
			t.Fatalf("%x became %x (%d)", whole, out, poisoned)
		}
	})
}
