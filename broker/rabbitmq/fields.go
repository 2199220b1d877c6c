package rabbitmq

import (
	"encoding/binary"
	"math"

	"github.com/warren-gateway/warren/broker"
)

// Limits of amqp091-go: it answers a table that passes them, or holds a type it does not know, by closing the connection. What
// it can read, our own messages may hold, and nothing more.
const (
	maxFieldDepth    = 32
	maxFieldElements = 8192
)

// fieldReader reads AMQP field values (AMQP 0-9-1, 4.2.5, with the types that RabbitMQ sends:
// https://www.rabbitmq.com/amqp-0-9-1-errata#section_3).
type fieldReader struct{ rest []byte }

// readTable reads a whole table, its length included. ok is false for one that is malformed or above the limits.
func readTable(table []byte) (t broker.Table, ok bool) {
	r := fieldReader{rest: table}
	t, ok = r.table(0)
	return t, ok && len(r.rest) == 0
}

func (r *fieldReader) take(n int) ([]byte, bool) {
	if n < 0 || n > len(r.rest) {
		return nil, false
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken, true
}

// shortString takes what an 8-bit length precedes.
func (r *fieldReader) shortString() ([]byte, bool) {
	size, ok := r.take(1)
	if !ok {
		return nil, false
	}
	return r.take(int(size[0]))
}

// block takes what a 32-bit length precedes.
func (r *fieldReader) block() ([]byte, bool) {
	n, ok := r.uint32()
	if !ok || n > math.MaxInt32 {
		return nil, false
	}
	return r.take(int(n))
}

func (r *fieldReader) uint8() (uint8, bool) {
	b, ok := r.take(1)
	if !ok {
		return 0, false
	}
	return b[0], true
}

func (r *fieldReader) uint16() (uint16, bool) {
	b, ok := r.take(2)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

func (r *fieldReader) uint32() (uint32, bool) {
	b, ok := r.take(4)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

func (r *fieldReader) uint64() (uint64, bool) {
	b, ok := r.take(8)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// table reads a table with its length; nil for an empty one.
func (r *fieldReader) table(depth int) (broker.Table, bool) {
	content, ok := r.block()
	if !ok || depth > maxFieldDepth {
		return nil, false
	}
	if len(content) == 0 {
		return nil, true
	}
	t := broker.Table{}
	inner := fieldReader{rest: content}
	for n := 0; len(inner.rest) > 0; n++ {
		name, ok := inner.shortString()
		if !ok || n == maxFieldElements {
			return nil, false
		}
		if t[string(name)], ok = inner.field(depth); !ok {
			return nil, false
		}
	}
	return t, true
}

func (r *fieldReader) array(depth int) ([]any, bool) {
	content, ok := r.block()
	if !ok || depth > maxFieldDepth {
		return nil, false
	}
	a := []any{}
	inner := fieldReader{rest: content}
	for len(inner.rest) > 0 {
		v, ok := inner.field(depth)
		if !ok || len(a) == maxFieldElements {
			return nil, false
		}
		a = append(a, v)
	}
	return a, true
}

// field reads a value with its type. Integers become int64, as broker.Table has them.
func (r *fieldReader) field(depth int) (any, bool) {
	kind, ok := r.uint8()
	if !ok {
		return nil, false
	}
	switch kind {
	case 'V':
		return nil, true
	case 'S':
		b, ok := r.block()
		return string(b), ok
	case 'x':
		b, ok := r.block()
		return append([]byte{}, b...), ok
	case 'A':
		return r.array(depth + 1)
	case 'F':
		t, ok := r.table(depth + 1)
		if t == nil {
			t = broker.Table{}
		}
		return t, ok
	}
	return r.number(kind)
}

// number reads a value of fixed size.
func (r *fieldReader) number(kind byte) (any, bool) {
	switch kind {
	case 't':
		n, ok := r.uint8()
		return n != 0, ok
	case 'b':
		n, ok := r.uint8()
		return int64(int8(n)), ok
	case 'B':
		n, ok := r.uint8()
		return int64(n), ok
	case 's':
		n, ok := r.uint16()
		return int64(int16(n)), ok
	case 'u':
		n, ok := r.uint16()
		return int64(n), ok
	case 'I':
		n, ok := r.uint32()
		return int64(int32(n)), ok
	case 'i':
		n, ok := r.uint32()
		return int64(n), ok
	case 'l':
		n, ok := r.uint64()
		return int64(n), ok
	case 'f':
		n, ok := r.uint32()
		return math.Float32frombits(n), ok
	case 'd':
		n, ok := r.uint64()
		return math.Float64frombits(n), ok
	case 'T':
		n, ok := r.uint64()
		return broker.Timestamp(n), ok
	case 'D':
		scale, _ := r.uint8()
		n, ok := r.uint32()
		return broker.Decimal{Scale: scale, Value: int32(n)}, ok
	}
	return nil, false
}
