package transport

import "github.com/warren-gateway/warren/broker"

// stretch says which consecutive events of which log lie in a batch's buffer, in
// the form that streams of one kind have them in. A crowd reads the same events
// one after the other, and who comes next finds them put together already, but
// for the newest. It names the log and keeps no reference to its frames.
type stretch struct {
	stream    string // the log's name, which no other log ever has
	transport broker.Transport
	first     uint64 // offset of the first event, which is at least 1; 0 while the buffer has none
	ends      []int  // where in the buffer each event ends
}

// forget says that the buffer has something else.
func (r *stretch) forget() { r.first, r.ends = 0, r.ends[:0] }

// together returns the bytes of the frames, of the first so many if not all fit
// one write, and of how many. It returns 0 for frames that are not all events of
// the log, or that are better written from where they lie. The bytes are good
// until the buffer begins anew, here or by reset.
func (b *batch) together(st *stream, frames []broker.Frame) (p []byte, n int) {
	if !shareable(frames) {
		return nil, 0
	}
	r, first := &b.lies, frames[0].Offset()
	skip := first - r.first // how many events lie before these; a great many where they are older
	if skip > uint64(len(r.ends)) || r.transport != st.transport || r.stream != st.att.Subscription().Stream() ||
		!b.holds(frames[min(uint64(len(frames)), uint64(len(r.ends))-skip):]) {
		skip = 0
		b.buf = b.buf[:0]
		*r = stretch{
			stream: st.att.Subscription().Stream(), transport: st.transport, first: first, ends: r.ends[:0],
		}
	}
	n = b.extend(st, frames, int(skip))
	from := 0
	if skip > 0 {
		from = r.ends[skip-1]
	}
	return b.buf[from:r.ends[int(skip)+n-1]], n
}

// shareable reports whether all frames are events of the log, small enough to be
// copied. The first and the last tell: a stream's own come before the log's or
// after them. One frame alone is not worth it, and is added as any other.
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

// holds reports whether the buffer has room for the frames. Their WebSocket form
// is no longer than that of an event stream, which has more around the same JSON.
func (b *batch) holds(frames []broker.Frame) bool {
	room := cap(b.buf) - len(b.buf)
	for i := range frames {
		room -= len(frames[i].SSE())
	}
	return room >= 0
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
