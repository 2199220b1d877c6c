package rabbitmq

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
)

// AMQP framing: type, channel and size before, one octet after the payload.
const (
	frameHeaderLen  = 7
	frameEndLen     = 1
	frameEnd        = 0xCE
	frameTypeHeader = 2
	frameTypeBody   = 3
	// headerPropsAt is where a content header's property flags begin: after class, weight and body size.
	headerPropsAt  = 2 + 2 + 8
	headerPropsLen = 2
	// headerFrameSize is the largest content header we accept. RabbitMQ neither splits nor bounds it: a message whose headers
	// fill a frame is larger than one when it is dead-lettered, with the header x-death.
	headerFrameSize = 1 << 20
)

// Property flags of basic, in the order of the properties.
const (
	flagContentType uint16 = 1 << (15 - iota)
	flagContentEncoding
	flagHeaders
	flagDeliveryMode
	flagPriority
	flagCorrelationID
	flagReplyTo
	flagExpiration
	flagMessageID
	flagTimestamp
	flagType
	flagUserID
	flagAppID
	flagClusterID
)

var errFrameTooLarge = errors.New("AMQP frame above the agreed size")

// frameReader hands on what it reads, save for messages to queues, which go to deliveries, and that it takes the headers off
// other messages which amqp091-go could not read. Otherwise one message of one publisher costs a thousand subscriptions their
// connection.
type frameReader struct {
	src        io.Reader
	poisoned   func()
	deliveries deliveries
	// agreed is the largest frame that was agreed upon, above which the library gives up.
	agreed atomic.Int64

	buf      []byte
	from, to int // what buf holds
	pass     int // how much may be handed on from there
}

func newFrameReader(src io.Reader, poisoned func()) *frameReader {
	r := &frameReader{
		src: src, poisoned: poisoned, buf: make([]byte, readBuffer),
		deliveries: deliveries{poisoned: poisoned},
	}
	r.agreed.Store(frameSize)
	return r
}

// Read implements io.Reader.
func (r *frameReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.pass == 0 {
		if err := r.next(); err != nil {
			r.deliveries.settle()
			return 0, err
		}
	}
	if r.from == r.to {
		if len(p) >= len(r.buf)/2 { // the rest of a large body: nothing to look at, nothing to copy
			n, err := r.read(p[:min(len(p), r.pass)])
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

// read reads from the socket, for which it may have to wait.
func (r *frameReader) read(p []byte) (int, error) {
	r.deliveries.settle()
	return r.src.Read(p)
}

// next looks at what comes and says how much of it may pass: as many whole frames as are there, or the rest of one.
func (r *frameReader) next() error {
	for {
		if err := r.fill(r.pass + frameHeaderLen); err != nil {
			return err
		}
		size, more, err := r.inspect()
		if err != nil || !more {
			return err
		}
		r.pass += size
		if r.pass > 0 && r.to-r.from < r.pass+frameHeaderLen {
			return nil
		}
	}
}

// inspect looks at the frame after what may pass and answers how much of it may pass, too: all of it, or nothing if it was
// taken. It reports false when what is before it has to pass first.
func (r *frameReader) inspect() (size int, more bool, err error) {
	at := r.from + r.pass
	size = frameHeaderLen + int(binary.BigEndian.Uint32(r.buf[at+3:])) + frameEndLen
	if !r.wantsWhole(at) {
		return size, true, nil
	}
	if size > frameSize && (r.buf[at] != frameTypeHeader || size > headerFrameSize) {
		return 0, false, errFrameTooLarge
	}
	if r.pass > 0 && r.to-at < size {
		return 0, false, nil
	}
	if err := r.fill(r.pass + size); err != nil {
		return 0, false, err
	}
	return r.look(size)
}

// look is inspect for a frame that is there as a whole: it is taken if it is a message's to a queue.
func (r *frameReader) look(size int) (left int, more bool, err error) {
	at := r.from + r.pass
	typ, channel := r.buf[at], binary.BigEndian.Uint16(r.buf[at+1:])
	payload := r.buf[at+frameHeaderLen : at+size-frameEndLen]
	switch {
	case typ == frameTypeMethod && r.deliveries.under(channel) != nil:
		return 0, false, errContent // What was to come of the message is missing, and its tag would never be settled.
	case !r.deliveries.wants(typ, channel, payload):
		if typ == frameTypeHeader {
			size = r.check(at, size)
		}
		return size, true, nil
	case r.pass > 0:
		return 0, false, nil
	case r.buf[at+size-frameEndLen] != frameEnd:
		return 0, false, errFrameEnd
	}
	r.from += size
	return 0, true, r.deliveries.take(typ, channel, payload)
}

// wantsWhole reports whether the frame at an offset has to be looked into.
func (r *frameReader) wantsWhole(at int) bool {
	typ := r.buf[at]
	return typ == frameTypeMethod || typ == frameTypeHeader ||
		typ == frameTypeBody && r.deliveries.under(binary.BigEndian.Uint16(r.buf[at+1:])) != nil
}

// check makes the content header at an offset readable and answers the size it has then.
func (r *frameReader) check(at, size int) int {
	payload := r.buf[at+frameHeaderLen : at+size-frameEndLen]
	from, to, ok := headersOf(payload)
	if !ok || from == to {
		return size // without headers, or not a content header of basic; the library decides
	}
	if !readable(payload[from:to]) {
		r.poisoned()
	} else if int64(size) <= r.agreed.Load() {
		return size
	}
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
		got, err := r.read(r.buf[r.to:])
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

// readable reports whether amqp091-go can read a whole table, its length included.
func readable(table []byte) bool {
	_, ok := readTable(table)
	return ok
}
