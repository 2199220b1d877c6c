package transport

import "github.com/warren-gateway/warren/broker"

// stretch says what lies in a batch's buffer: the bytes of consecutive events of
// one log, as streams of one kind have them. A crowd reads the same events one
// after the other, and who comes next finds them put together already, but for
// the newest. It names the log and keeps no reference to its frames.
type stretch struct {
	stream    string // the log's name, which no other log ever has
	transport broker.Transport
	first     uint64 // offset of the first event; 0 while there is none, as no event has
	ends      []int  // where in the buffer each event ends
}

// forget says that the buffer has something else.
func (r *stretch) forget() { r.first, r.ends = 0, r.ends[:0] }

// stretch returns the bytes of the frames, of the first so many if not all fit
// one write, and of how many. It returns 0 for frames that are not a stretch of
// a log, or that are better written from where they lie. The bytes are good until
// the buffer is used for others.
func (b *batch) stretch(st *stream, frames []broker.Frame) (p []byte, n int) {
	if !shareable(frames) {
		return nil, 0
	}
	r, first := &b.lies, frames[0].Offset()
	skip := first - r.first // how many events lie before these; a great many where they are older
	if skip > uint64(len(r.ends)) || r.transport != st.transport || r.stream != st.att.Subscription().Stream() {
		skip = b.beginStretch(st, first)
	}
	n = b.extend(st, frames, int(skip))
	if n < len(frames) && skip > 0 { // what lies before them takes the room
		skip = b.beginStretch(st, first)
		n = b.extend(st, frames, 0)
	}
	from := 0
	if skip > 0 {
		from = r.ends[skip-1]
	}
	return b.buf[from:r.ends[int(skip)+n-1]], n
}

// shareable reports whether all frames are a log's, of which there are then none
// in between that are not, and small enough to be copied. One frame alone is
// not worth it.
func shareable(frames []broker.Frame) bool {
	if len(frames) < 2 || frames[0].Offset() == 0 || frames[len(frames)-1].Offset() == 0 {
		return false
	}
	for i := range frames {
		if len(frames[i].SSE()) >= bigFrame {
			return false
		}
	}
	return true
}

// beginStretch empties the buffer for events from first on.
func (b *batch) beginStretch(st *stream, first uint64) (skip uint64) {
	b.buf = b.buf[:0]
	b.lies = stretch{
		stream: st.att.Subscription().Stream(), transport: st.transport, first: first, ends: b.lies.ends[:0],
	}
	return 0
}

// extend sees to it that the frames lie in the buffer behind the first skip
// events, as far as there is room, and returns how many of them do. An empty
// buffer has room for any.
func (b *batch) extend(st *stream, frames []broker.Frame, skip int) (n int) {
	r := &b.lies
	var head [maxHeader]byte
	for n = min(len(r.ends)-skip, len(frames)); n < len(frames); n++ {
		before, body := st.parts(frames[n], &head)
		if len(b.buf)+len(before)+len(body) > cap(b.buf) {
			break
		}
		b.buf = append(append(b.buf, before...), body...)
		r.ends = append(r.ends, len(b.buf))
	}
	return n
}
