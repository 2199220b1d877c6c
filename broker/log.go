package broker

import "sort"

// frameOverhead is what an event costs beside its bytes: its slot in the ring,
// which may be half empty, and the allocator's rounding.
const frameOverhead = 128

// maxIrregular bounds how many events that do not stand for exactly one message
// a log remembers after their eviction: then it forgets the older half. Positions
// older than the oldest of them get a gap without a count.
const maxIrregular = 4096

// ring is the bounded log of a subscription: the newest events, by count and by
// bytes. The newest event always stays. It is not safe for concurrent use; the
// subscription's mutex guards it.
//
// Offsets count from 1. first is the oldest retained one and newest the last;
// first == newest+1 while the log is empty.
type ring struct {
	slots  []Frame // power of two in length; offset o is at o & (len-1)
	first  uint64
	newest uint64
	bytes  int // of the retained events, with their overhead

	maxFrames int
	maxBytes  int

	tally tally
	// marker is the newest binding marker that was evicted.
	marker Frame
}

func newRing(maxFrames, maxBytes int) *ring {
	return &ring{first: 1, maxFrames: max(maxFrames, 1), maxBytes: maxBytes}
}

func (r *ring) len() int { return int(r.newest + 1 - r.first) }

func frameCost(f Frame) int { return len(f.sse) + frameOverhead }

// append adds the event newest+1 and evicts what no longer fits. It returns
// how many events it evicted.
func (r *ring) append(f Frame) (evicted int) {
	if r.len() == len(r.slots) {
		r.resize(max(16, 2*len(r.slots)))
	}
	r.newest++
	r.slots[r.newest&uint64(len(r.slots)-1)] = f
	r.bytes += frameCost(f)
	for r.len() > r.maxFrames || r.bytes > r.maxBytes {
		if !r.evict() {
			break
		}
		evicted++
	}
	return evicted
}

// evict drops the oldest event, unless it is the newest too.
func (r *ring) evict() bool {
	if r.len() <= 1 {
		return false
	}
	slot := &r.slots[r.first&uint64(len(r.slots)-1)]
	r.bytes -= frameCost(*slot)
	if slot.kind == KindBindings {
		r.marker = *slot
	}
	*slot = Frame{}
	r.first++
	return true
}

// shrink evicts until at most maxBytes are held, and gives back slots that are
// not needed any more. It returns how many events it evicted.
func (r *ring) shrink(maxBytes int) (evicted int) {
	for r.bytes > maxBytes && r.evict() {
		evicted++
	}
	if size := len(r.slots); size > 64 && r.len() < size/4 {
		r.resize(size / 2)
	}
	return evicted
}

func (r *ring) resize(size int) {
	slots := make([]Frame, size)
	for o := r.first; o <= r.newest; o++ {
		slots[o&uint64(size-1)] = r.slots[o&uint64(len(r.slots)-1)]
	}
	r.slots = slots
}

// read appends up to limit events after the offset to dst, the first and those
// that are no more than maxBytes with it. The caller has seen to it that the
// event after the offset is retained or still to come.
func (r *ring) read(dst []Frame, after uint64, limit, maxBytes int) []Frame {
	last := min(r.newest, after+uint64(limit))
	for o := after + 1; o <= last; o++ {
		f := &r.slots[o&uint64(len(r.slots)-1)]
		if maxBytes -= len(f.sse); maxBytes < 0 && o > after+1 {
			break
		}
		dst = append(dst, *f)
	}
	return dst
}

// irregular is what is known of an event that does not stand for one message:
// a binding marker, or a gap of another size than one. Its sums include all
// irregular events before it.
type irregular struct {
	offset uint64
	// extra is how many messages the events up to this one stand for, minus
	// how many events they are.
	extra int64
	// unknown is how many of them stand for a number that nobody knows.
	unknown uint64
}

// tally knows how many messages lie between any two offsets of a log, evicted
// or not, by remembering the exceptions to "one event is one message".
type tally struct {
	marks []irregular
	// floor is the newest forgotten exception and what had been summed up to it.
	floor irregular
}

// note records that the event at offset, newer than all before, stands for
// missed messages (0 for a marker, unknownCount for a gap of unknown size).
func (t *tally) note(offset uint64, missed int64) {
	if missed == 1 {
		return
	}
	last := t.floor
	if n := len(t.marks); n > 0 {
		last = t.marks[n-1]
	}
	m := irregular{offset: offset, extra: last.extra, unknown: last.unknown}
	if missed == unknownCount {
		m.unknown++
		m.extra--
	} else {
		m.extra += missed - 1
	}
	if len(t.marks) >= maxIrregular {
		half := len(t.marks) / 2
		t.floor = t.marks[half-1]
		t.marks = append(t.marks[:0], t.marks[half:]...)
	}
	t.marks = append(t.marks, m)
}

// at returns the sums up to and with the offset.
func (t *tally) at(offset uint64) irregular {
	i := sort.Search(len(t.marks), func(i int) bool { return t.marks[i].offset > offset })
	if i == 0 {
		return t.floor
	}
	return t.marks[i-1]
}

// between returns how many messages the events after "after" and up to "upTo"
// stand for, or unknownCount.
func (t *tally) between(after, upTo uint64) int64 {
	if after < t.floor.offset {
		return unknownCount
	}
	a, b := t.at(after), t.at(upTo)
	if a.unknown != b.unknown {
		return unknownCount
	}
	return int64(upTo-after) + b.extra - a.extra
}
