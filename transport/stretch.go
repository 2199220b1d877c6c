package transport

import "github.com/warren-gateway/warren/broker"

// stretch says which consecutive events of which log lie one after the other
// somewhere. It names the log and keeps no reference to its frames.
type stretch struct {
	stream string // the log's name, which no other log ever has
	first  uint64 // offset of the first event, which is at least 1; 0 while there is none
	ends   []int  // where each event ends
}

// forget says that there is nothing any more.
func (r *stretch) forget() { r.first, r.ends = 0, r.ends[:0] }

// begin says that the event at offset comes first.
func (r *stretch) begin(st *stream, offset uint64) {
	r.stream, r.first, r.ends = st.att.Subscription().Stream(), offset, r.ends[:0]
}

// of reports whether it is of what st reads.
func (r *stretch) of(st *stream) bool {
	return r.first > 0 && r.stream == st.att.Subscription().Stream()
}

// next is the offset of the event that would come next.
func (r *stretch) next() uint64 { return r.first + uint64(len(r.ends)) }

// before returns how many events lie before the one at offset, and whether that
// lies among them or would be next.
func (r *stretch) before(st *stream, offset uint64) (skip int, ok bool) {
	if !r.of(st) || offset < r.first || offset > r.next() {
		return 0, false
	}
	return int(offset - r.first), true
}

// place returns where what lies behind the first skip events begins.
func (r *stretch) place(skip int) int {
	if skip == 0 {
		return 0
	}
	return r.ends[skip-1]
}

// glance is what a worker remembers of what was sent last to streams of a kind:
// who comes next and wants the same is of a crowd.
type glance struct {
	stream      string
	first, last uint64 // what one of them was sent
	streams     int    // how many in a row began with some of that
	behind      int    // how many in a row began with what is older
	crowd       bool   // what came before that was for a crowd
}

// repeats reports whether the event at first is sent to others: as many as are
// worth it were just sent it, or what came before. It remembers for the next that
// st is sent it.
func (g *glance) repeats(st *stream, first uint64) bool {
	stream := st.att.Subscription().Stream()
	switch known := g.stream == stream; {
	case known && first < g.first && g.behind < sheetPatience: // who is late tells nothing
		g.behind++
		return false
	case known && g.first <= first && first <= g.last:
		g.streams++
		g.behind = 0
	default:
		crowd := known && first > g.last && g.streams > sheetReaders
		*g = glance{stream: stream, first: first, last: first, streams: 1, crowd: crowd}
	}
	return g.crowd || g.streams > sheetReaders
}

// upTo remembers that st was sent all up to last.
func (g *glance) upTo(last uint64) {
	if g.streams == 1 {
		g.last = max(g.last, last)
	}
}

// shareable reports whether all frames are events of the log, as large together as
// is worth it and fits. The first and the last tell: a stream's own come before the
// log's or after them.
func shareable(frames []broker.Frame) bool {
	if len(frames) == 0 || frames[0].Offset() == 0 || frames[len(frames)-1].Offset() == 0 {
		return false
	}
	size := longest(frames)
	return size >= sharedBytes && size <= sheetBytes
}

// longest is how long the frames are at most. Their WebSocket form is no longer
// than that of an event stream, which has more around the same JSON.
func longest(frames []broker.Frame) (size int) {
	for i := range frames {
		size += len(frames[i].SSE())
	}
	return size
}
