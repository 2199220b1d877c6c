package transport

import (
	"net"
	"time"

	"github.com/warren-gateway/warren/broker"
)

const (
	// coalesceBytes is how much small frames are copied together for one system
	// call. A stalled stream holds one such buffer until its write timeout.
	coalesceBytes = 64 << 10
	// bigFrame is the size from which a frame is written from where it lies: a
	// piece of its own for sendmsg(2) costs less than to copy it.
	bigFrame = 2 << 10
	// writeBytes is after how many bytes a system call is due, whatever is left,
	// and what a round takes from the log at most, or one frame: a stalled stream
	// holds that even where its log has evicted it.
	writeBytes = 128 << 10
	// batchFrames is how many frames a round takes at most.
	batchFrames = 128
	// sharedBytes is how much has to be ready for a stream of a crowd before it is
	// sent from a worker's sheets. Below, to copy costs no more.
	sharedBytes = 8 << 10
	// sheetBytes is how long a worker's sheets become, of which it has two: streams
	// of a crowd are not all at the same place.
	sheetBytes = 512 << 10
	// sheetReaders is how many streams, besides the one whose turn it is, have to be
	// sent something for it to be worth putting it there.
	sheetReaders = 3
	// sheetPatience is how often the sheets keep what is of no use, while something
	// else would be.
	sheetPatience = 8
	// sheetIdle is how long the sheets keep what nobody has use of.
	sheetIdle = 10 * time.Second
	// sheetRest is for how long no sheets are made when the system has refused what
	// they need.
	sheetRest = 10 * time.Minute
	// mostSheets is how many workers have sheets for streams of a kind at most.
	mostSheets = 16
)

// kinds is how many kinds of streams there are.
const kinds = int(broker.WS) + 1

// batch is what a stream's turn works with. It is a worker's, so that an idle
// stream holds neither memory nor frames.
type batch struct {
	frames []broker.Frame
	// buf holds copies of small frames; it never grows, because vecs has parts of it.
	buf  []byte
	open int // where the part of buf begins that is not in vecs yet
	vecs [][]byte
	rest net.Buffers // the part of vecs that is not written yet
	size int         // bytes added since the last reset
	// cut is how much of what is added first the socket has taken already, as the
	// end of an earlier write.
	cut int

	// try writes rest to a descriptor, once, with its result in tried and
	// tryErr. It is made once, because a closure per write would be garbage.
	try    func(fd uintptr)
	tried  int
	tryErr error

	// crowds are what the worker has for those that read by SSE, and for those by
	// WebSocket. trySheet sends left bytes of the sheet from "from" on, which it moves.
	crowds   [kinds]crowd
	again    bool // the turn has had a round that may be of a crowd
	sheet    *sheet
	from     int
	left     int
	trySheet func(fd uintptr)

	// quiet is how many more writes may go past Go's scheduler before one must
	// not. A worker that finds no end of work has to let the scheduler know: its
	// monitor, which takes the processor from who has it for too long, would
	// sleep on. One that has rested has given the processor up itself, and who woke
	// it was woken by the poller or by a timer, or tells the scheduler of its own
	// system calls.
	quiet  int
	pieces pieces
}

// quietWrites is some milliseconds' work: about what the monitor, once awake,
// lets a goroutine have the processor for (10 ms). A write counts once more for
// each quietBytes, and one of more than writeBytes is never quiet. Where streams
// have pauses, each write that is not quiet has the monitor look for a
// millisecond more, each 20 microseconds at first, which costs dozens of writes.
const (
	quietWrites = 1024
	quietBytes  = 16 << 10
)

func newBatch() *batch {
	b := &batch{
		frames: make([]broker.Frame, 0, batchFrames+8),
		buf:    make([]byte, 0, coalesceBytes),
		vecs:   make([][]byte, 0, 16),
	}
	b.try, b.trySheet = b.tryOnce, b.sendSheetOnce
	return b
}

// forget leaves no reference to any frame: it would keep memory that its log
// has evicted.
func (b *batch) forget() {
	clear(b.frames)
	b.frames = b.frames[:0]
	b.noPieces()
}

// rested says that the worker has waited for work since its last write.
func (b *batch) rested() { b.quiet = quietWrites }

// reset makes the batch ready for what add adds.
func (b *batch) reset() {
	b.noPieces()
	b.buf = b.buf[:0]
	b.open, b.size = 0, 0
}

func (b *batch) noPieces() {
	clear(b.vecs)
	b.vecs, b.rest = b.vecs[:0], nil
}

// room reports whether head and body fit before a write is due.
func (b *batch) room(n int) bool {
	copied := n
	if n >= bigFrame {
		copied = maxHeader
	}
	return b.size == 0 || b.size+n <= writeBytes && len(b.buf)+copied <= cap(b.buf)
}

// add adds head and body. head is copied, body is copied unless it is big.
func (b *batch) add(head, body []byte) {
	b.size += len(head) + len(body)
	b.buf = append(b.buf, head...)
	if len(body) < bigFrame {
		b.buf = append(b.buf, body...)
		return
	}
	b.seal()
	b.vecs = append(b.vecs, body)
	b.rest = b.vecs
}

// seal moves the open part of buf to vecs, and all of vecs to what is to be written.
func (b *batch) seal() {
	if len(b.buf) > b.open {
		b.vecs = append(b.vecs, b.buf[b.open:len(b.buf):len(b.buf)])
		b.open = len(b.buf)
	}
	b.rest = b.vecs
}

// advance takes n bytes off what is to be written.
func (b *batch) advance(n int) {
	for n > 0 {
		if first := b.rest[0]; n < len(first) {
			b.rest[0] = first[n:]
			return
		}
		n -= len(b.rest[0])
		b.rest = b.rest[1:]
	}
}

// maxHeader is the longest header of an unmasked WebSocket frame.
const maxHeader = 10

const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA

	finBit = 0x80
)

// appendHeader appends the header of a final, unmasked frame (RFC 6455, section 5.2).
func appendHeader(b []byte, op byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, finBit|op, byte(n))
	case n < 1<<16:
		return append(b, finBit|op, 126, byte(n>>8), byte(n))
	}
	u := uint64(n)
	return append(b, finBit|op, 127, byte(u>>56), byte(u>>48), byte(u>>40), byte(u>>32),
		byte(u>>24), byte(u>>16), byte(u>>8), byte(u))
}
