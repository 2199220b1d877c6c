package rabbitmq

import (
	"encoding/binary"
	"errors"
	"io"
)

// AMQP framing: type, channel and size before, one octet after the payload.
const (
	frameHeaderLen  = 7
	frameEndLen     = 1
	frameTypeHeader = 2
	// headerPropsAt is where a content header's property flags begin: after class, weight and body size.
	headerPropsAt  = 2 + 2 + 8
	headerPropsLen = 2
)

// Property flags of basic.
const (
	flagContentType     = 0x8000
	flagContentEncoding = 0x4000
	flagHeaders         = 0x2000
)

// Limits of amqp091-go: it answers a table that passes them, or holds a type it does not know, by closing the connection.
const (
	maxFieldDepth    = 32
	maxFieldElements = 8192
)

var errFrameTooLarge = errors.New("AMQP frame above the agreed size")

// frameReader hands on what it reads, save that it takes the headers off messages which amqp091-go could not read.
// Otherwise one message of one publisher costs a thousand subscriptions their connection.
type frameReader struct {
	src      io.Reader
	poisoned func()

	buf      []byte
	from, to int // what buf holds
	pass     int // how much may be handed on from there
}

func newFrameReader(src io.Reader, poisoned func()) *frameReader {
	return &frameReader{src: src, poisoned: poisoned, buf: make([]byte, readBuffer)}
}

// Read implements io.Reader.
func (r *frameReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.pass == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	if r.from == r.to {
		if len(p) >= len(r.buf)/2 { // the rest of a large body: nothing to look at, nothing to copy
			n, err := r.src.Read(p[:min(len(p), r.pass)])
			r.pass -= n
			return n, err
		}
		if err := r.fill(1); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.from:min(r.to, r.from+r.pass)])
	r.from += n
	r.pass -= n
	return n, nil
}

// next looks at what comes and says how much of it may pass: as many whole frames as are there, or the rest of one.
func (r *frameReader) next() error {
	for {
		if err := r.fill(r.pass + frameHeaderLen); err != nil {
			return err
		}
		at := r.from + r.pass
		size := frameHeaderLen + int(binary.BigEndian.Uint32(r.buf[at+3:])) + frameEndLen
		if r.buf[at] == frameTypeHeader {
			if size > frameSize {
				return errFrameTooLarge
			}
			if r.pass > 0 && r.to-at < size {
				return nil // first what is whole
			}
			if err := r.fill(r.pass + size); err != nil {
				return err
			}
			at = r.from + r.pass
			size = r.check(at, size)
		}
		r.pass += size
		if r.to-r.from < r.pass+frameHeaderLen {
			return nil
		}
	}
}

// check makes the content header at an offset readable and answers the size it has then.
func (r *frameReader) check(at, size int) int {
	payload := r.buf[at+frameHeaderLen : at+size-frameEndLen]
	from, to, ok := headersOf(payload)
	if ok && (from == to || readableTable(payload[from:to])) {
		return size
	}
	if !ok {
		return size // not a content header of basic; the library decides
	}
	r.poisoned()
	flags := binary.BigEndian.Uint16(payload[headerPropsAt:])
	binary.BigEndian.PutUint16(payload[headerPropsAt:], flags&^flagHeaders)
	gone := to - from
	binary.BigEndian.PutUint32(r.buf[at+3:], uint32(len(payload)-gone))
	tableAt := at + frameHeaderLen + from
	copy(r.buf[tableAt:], r.buf[tableAt+gone:r.to])
	r.to -= gone
	return size - gone
}

// fill reads until there are at least n bytes.
func (r *frameReader) fill(n int) error {
	if r.to-r.from >= n {
		return nil
	}
	if r.from > 0 && (r.from == r.to || r.from+n > len(r.buf)) {
		copy(r.buf, r.buf[r.from:r.to])
		r.to -= r.from
		r.from = 0
	}
	if n > len(r.buf) {
		r.buf = append(r.buf, make([]byte, n-len(r.buf))...)
	}
	for r.to-r.from < n {
		got, err := r.src.Read(r.buf[r.to:])
		r.to += got
		if err != nil && r.to-r.from < n {
			return err
		}
	}
	return nil
}

// headersOf finds the headers table, with its length, in a content header's payload; from equals to if it has none.
func headersOf(payload []byte) (from, to int, ok bool) {
	if len(payload) < headerPropsAt+headerPropsLen {
		return 0, 0, false
	}
	flags := binary.BigEndian.Uint16(payload[headerPropsAt:])
	if flags&flagHeaders == 0 {
		return 0, 0, true
	}
	at := headerPropsAt + headerPropsLen
	for _, flag := range []uint16{flagContentType, flagContentEncoding} {
		if flags&flag != 0 {
			if at >= len(payload) {
				return 0, 0, false
			}
			at += 1 + int(payload[at])
		}
	}
	if at+4 > len(payload) {
		return 0, 0, false
	}
	end := at + 4 + int(binary.BigEndian.Uint32(payload[at:]))
	if end > len(payload) {
		return 0, 0, false
	}
	return at, end, true
}

// readableTable reports whether amqp091-go can read a whole table, its length included.
func readableTable(table []byte) bool {
	s := fieldScanner{rest: table}
	return s.table(0) && len(s.rest) == 0
}

// fieldScanner walks over AMQP field values without making anything of them.
type fieldScanner struct{ rest []byte }

func (s *fieldScanner) take(n int) ([]byte, bool) {
	if n < 0 || n > len(s.rest) {
		return nil, false
	}
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	return taken, true
}

// block takes what a 32-bit length precedes.
func (s *fieldScanner) block() ([]byte, bool) {
	size, ok := s.take(4)
	if !ok {
		return nil, false
	}
	n := binary.BigEndian.Uint32(size)
	if n > 1<<31-1 {
		return nil, false
	}
	return s.take(int(n))
}

func (s *fieldScanner) table(depth int) bool {
	content, ok := s.block()
	if !ok || depth > maxFieldDepth {
		return false
	}
	inner := fieldScanner{rest: content}
	for n := 0; len(inner.rest) > 0; n++ {
		name, ok := inner.take(1)
		if !ok || n == maxFieldElements {
			return false
		}
		if _, ok := inner.take(int(name[0])); !ok || !inner.field(depth) {
			return false
		}
	}
	return true
}

func (s *fieldScanner) array(depth int) bool {
	content, ok := s.block()
	if !ok || depth > maxFieldDepth {
		return false
	}
	inner := fieldScanner{rest: content}
	for n := 0; len(inner.rest) > 0; n++ {
		if n == maxFieldElements || !inner.field(depth) {
			return false
		}
	}
	return true
}

func (s *fieldScanner) field(depth int) bool {
	kind, ok := s.take(1)
	if !ok {
		return false
	}
	switch kind[0] {
	case 'V':
		return true
	case 't', 'b', 'B':
		_, ok = s.take(1)
	case 's', 'u':
		_, ok = s.take(2)
	case 'I', 'i', 'f':
		_, ok = s.take(4)
	case 'D':
		_, ok = s.take(5)
	case 'l', 'd', 'T':
		_, ok = s.take(8)
	case 'S', 'x':
		_, ok = s.block()
	case 'A':
		return s.array(depth + 1)
	case 'F':
		return s.table(depth + 1)
	default:
		return false
	}
	return ok
}
