package broker

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"
)

// Kind is the type of a frame.
type Kind uint8

// The kinds of frames, in the order of the contract.
const (
	KindReady Kind = iota + 1
	KindMessage
	KindGap
	KindBindings
	KindPaused
	KindResumed
	KindPing
	KindBye
	KindOK
	KindError
	KindPong
)

var kindNames = [...]string{
	KindReady: "ready", KindMessage: "message", KindGap: "gap", KindBindings: "bindings",
	KindPaused: "paused", KindResumed: "resumed", KindPing: "ping", KindBye: "bye",
	KindOK: "ok", KindError: "error", KindPong: "pong",
}

// Kinds lists every kind of frame, in the order of the contract.
func Kinds() []Kind {
	return []Kind{
		KindReady, KindMessage, KindGap, KindBindings, KindPaused, KindResumed,
		KindPing, KindBye, KindOK, KindError, KindPong,
	}
}

// String returns the frame's type as it is written on the wire.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Frame is one encoded frame. It is immutable, cheap to copy, and its memory is
// shared by all readers of a log: neither SSE nor JSON may be modified.
type Frame struct {
	// sse is the whole event; the JSON object is a part of it, so that both
	// transports send the same bytes from one allocation.
	sse []byte
	// offset is the event's place in its log, 0 for frames that take none.
	offset uint64
	// received is when the message came in, on the clock of Epoch; 0 if the frame
	// stands for no delivery.
	received  time.Duration
	age       age
	jsonStart uint16
	kind      Kind
}

// SSE returns the frame as one complete event of an event stream, with the
// empty line that ends it.
func (f Frame) SSE() []byte { return f.sse }

// JSON returns the frame as one JSON object on one line, a part of SSE.
func (f Frame) JSON() []byte { return f.sse[f.jsonStart : len(f.sse)-len(eventEnd)] }

// Kind returns the type of the frame.
func (f Frame) Kind() Kind { return f.kind }

// Offset returns the event's place in its log, 0 for a frame that takes none.
func (f Frame) Offset() uint64 { return f.offset }

// Received returns when the message of this frame was taken from its source, as
// the time since Epoch; 0 for other frames.
func (f Frame) Received() time.Duration { return f.received }

// Age returns how long before Received the message was published, where its
// publisher says when that was (see Options.LatencyHeader).
func (f Frame) Age() (age time.Duration, known bool) { return f.age.duration() }

const eventEnd = "\n\n"

// frameWriter builds frames, one after the other, in a buffer that is used again
// and again: by this one until release, and then by others. Of thousands of
// subscriptions few encode at the same time, and each would keep what its largest
// frame took.
type frameWriter struct {
	buf       []byte
	lent      *[]byte // what buf came from; nil if that is nowhere
	jsonStart int
	kind      Kind
}

// buffers are those that no frameWriter has.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 1<<10)
	return &b
}}

// release gives the buffer back, until the next frame.
func (w *frameWriter) release() {
	if w.lent == nil {
		return
	}
	*w.lent = w.buf[:0]
	buffers.Put(w.lent)
	w.buf, w.lent = nil, nil
}

// begin starts a frame: the lines before the JSON object, its type and, unless
// id is zero, its id.
func (w *frameWriter) begin(kind Kind, id Position) {
	w.kind = kind
	if w.lent == nil {
		w.lent = buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
		w.buf = *w.lent
	}
	b := w.buf[:0]
	if kind != KindMessage { // left out, so that EventSource.onmessage gets it
		b = append(b, "event: "...)
		b = append(b, kindNames[kind]...)
		b = append(b, '\n')
	}
	if !id.IsZero() {
		b = append(b, "id: "...)
		b = id.append(b)
		b = append(b, '\n')
	}
	w.buf = b
	w.openData()
	if !id.IsZero() {
		w.buf = append(w.buf, `,"id":"`...)
		w.buf = id.append(w.buf)
		w.buf = append(w.buf, '"')
	}
}

// openData starts the data line and the object, up to and with its type.
func (w *frameWriter) openData() {
	b := append(w.buf, "data: "...)
	w.jsonStart = len(b)
	b = append(b, `{"type":"`...)
	b = append(b, kindNames[w.kind]...)
	w.buf = append(b, '"')
}

// end closes the object and returns the frame in memory of its own.
func (w *frameWriter) end(offset uint64) Frame {
	w.buf = append(append(w.buf, '}'), eventEnd...)
	sse := make([]byte, len(w.buf))
	copy(sse, w.buf)
	const keep = 64 << 10 // a rare large message must not pin its size for good
	if cap(w.buf) > keep {
		w.buf = nil
	}
	return Frame{sse: sse, offset: offset, jsonStart: uint16(w.jsonStart), kind: w.kind}
}

func (w *frameWriter) raw(s string)    { w.buf = append(w.buf, s...) }
func (w *frameWriter) string(s string) { w.buf = appendString(w.buf, s) }
func (w *frameWriter) json(b []byte)   { w.buf = append(w.buf, b...) }
func (w *frameWriter) position(p Position) {
	w.buf = append(w.buf, '"')
	w.buf = p.append(w.buf)
	w.buf = append(w.buf, '"')
}

// message encodes a delivery as the event id.
func (w *frameWriter) message(id Position, m *Message, mode PayloadMode) Frame {
	w.begin(KindMessage, id)
	w.raw(`,"exchange":`)
	w.string(m.Exchange)
	w.raw(`,"routing_key":`)
	w.string(m.RoutingKey)
	w.raw(`,"properties":`)
	w.buf = appendProperties(w.buf, &m.Properties)
	w.buf = appendPayload(w.buf, m, mode)
	return w.end(id.Offset)
}

// gap encodes a gap with the id, which is an event of the log's own if offset is not 0.
func (w *frameWriter) gap(id Position, offset uint64, g gap) Frame {
	w.begin(KindGap, id)
	w.raw(`,"missed":`)
	if g.missed == unknownCount {
		w.raw("null")
	} else {
		w.buf = strconv.AppendInt(w.buf, g.missed, 10)
	}
	w.raw(`,"reason":"` + string(g.reason) + `"`)
	if !g.since.IsZero() {
		w.raw(`,"since":`)
		w.position(g.since)
	}
	if g.reason == GapOversized {
		w.raw(`,"exchange":`)
		w.string(g.exchange)
		w.raw(`,"routing_key":`)
		w.string(g.routingKey)
		w.raw(`,"size":`)
		w.buf = strconv.AppendInt(w.buf, int64(g.size), 10)
	}
	return w.end(offset)
}

const bindingsMember = `,"bindings":`

// bindings encodes a binding marker; list is the JSON array of the bindings.
func (w *frameWriter) bindings(id Position, offset uint64, list []byte) Frame {
	w.begin(KindBindings, id)
	w.raw(bindingsMember)
	w.json(list)
	return w.end(offset)
}

// ready encodes the first frame of an attachment; subscription is "" on shared ones.
func (w *frameWriter) ready(id Position, stream, subscription string, list []byte, resumed bool) Frame {
	w.begin(KindReady, id)
	w.raw(`,"stream":`)
	w.string(stream)
	if subscription != "" {
		w.raw(`,"subscription":`)
		w.string(subscription)
	}
	w.raw(bindingsMember)
	w.json(list)
	w.raw(`,"resumed":` + strconv.FormatBool(resumed))
	return w.end(0)
}

// readyFrame, gapFrame and markerFrame are frames that an attachment makes for its
// reader alone; they take no offset.

func readyFrame(id Position, stream, subscription string, list []byte, resumed bool) Frame {
	var w frameWriter
	defer w.release()
	return w.ready(id, stream, subscription, list, resumed)
}

func gapFrame(id Position, g gap) Frame {
	var w frameWriter
	defer w.release()
	return w.gap(id, 0, g)
}

func markerFrame(id Position, list []byte) Frame {
	var w frameWriter
	defer w.release()
	return w.bindings(id, 0, list)
}

// newScopeFrame encodes paused and resumed, which are the same for everybody.
func newScopeFrame(kind Kind, scope string) Frame {
	var w frameWriter
	w.begin(kind, Position{})
	w.raw(`,"scope":"` + scope + `"`)
	defer w.release()
	return w.end(0)
}

var (
	framePausedAttachment    = newScopeFrame(KindPaused, "attachment")
	framePausedSubscription  = newScopeFrame(KindPaused, "subscription")
	frameResumedAttachment   = newScopeFrame(KindResumed, "attachment")
	frameResumedSubscription = newScopeFrame(KindResumed, "subscription")
)

// PingFrame returns the frame that is sent when nothing else was for the
// heartbeat interval. newest is the newest event id of the log, "" for none.
func PingFrame(now time.Time, newest string) Frame {
	var w frameWriter
	w.begin(KindPing, Position{})
	w.raw(`,"time":"` + now.UTC().Format("2006-01-02T15:04:05.000Z07:00") + `","newest":`)
	if newest == "" {
		w.raw("null")
	} else {
		w.string(newest)
	}
	defer w.release()
	return w.end(0)
}

// Bye is what the last frame of a stream says.
type Bye struct {
	// Code is the WebSocket close code, which SSE sends too.
	Code int
	// Reason says why, as the contract's table has it.
	Reason string
	// Reconnect says whether coming back to the same place makes sense.
	Reconnect bool
	// RetryMS is after how many milliseconds to come back.
	RetryMS int
	// URL is where to go first, "" for the same place.
	URL string
}

// ByeFrame returns the last frame of a stream. Its SSE form has a retry line,
// so that an EventSource comes back after RetryMS.
func ByeFrame(b Bye) Frame {
	w := frameWriter{kind: KindBye}
	retry := strconv.Itoa(b.RetryMS)
	w.raw("event: bye\nretry: " + retry + "\n")
	w.openData()
	w.raw(`,"code":` + strconv.Itoa(b.Code) + `,"reason":`)
	w.string(b.Reason)
	w.raw(`,"reconnect":` + strconv.FormatBool(b.Reconnect) + `,"retry_ms":` + retry)
	if b.URL != "" {
		w.raw(`,"url":`)
		w.string(b.URL)
	}
	return w.end(0)
}

// OKFrame answers a WebSocket request that succeeded. ref and subscription are
// JSON values, left out when nil.
func OKFrame(ref, subscription json.RawMessage) Frame {
	return replyFrame(KindOK, ref, "subscription", subscription)
}

// ErrorFrame answers a WebSocket request that failed with a problem document.
func ErrorFrame(ref, problem json.RawMessage) Frame {
	return replyFrame(KindError, ref, "problem", problem)
}

// PongFrame answers a WebSocket request of type ping.
func PongFrame(ref json.RawMessage) Frame {
	return replyFrame(KindPong, ref, "", nil)
}

func replyFrame(kind Kind, ref json.RawMessage, member string, value json.RawMessage) Frame {
	var w frameWriter
	w.begin(kind, Position{})
	if len(ref) > 0 {
		w.raw(`,"ref":`)
		w.json(ref)
	}
	if len(value) > 0 {
		w.raw(`,"` + member + `":`)
		w.json(value)
	}
	defer w.release()
	return w.end(0)
}
