package broker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// logModel is the naive log: all that was ever appended.
type logModel struct {
	missed []int64 // by offset-1: what each event stands for
	kinds  []Kind
	costs  []int
}

func (m *logModel) between(after, upTo uint64) int64 {
	var sum int64
	for _, v := range m.missed[after:upTo] {
		if v == unknownCount {
			return unknownCount
		}
		sum += v
	}
	return sum
}

// first is the oldest offset a log with these bounds retains.
func (m *logModel) first(maxFrames, maxBytes int) uint64 {
	n, bytes := 0, 0
	first := uint64(len(m.costs)) + 1
	for i, cost := range slices.Backward(m.costs) {
		n++
		bytes += cost
		if n > 1 && (n > maxFrames || bytes > maxBytes) {
			break
		}
		first = uint64(i) + 1
	}
	return first
}

func TestLogAgainstTheNaiveOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxFrames := rapid.IntRange(1, 40).Draw(t, "maxFrames")
		maxBytes := rapid.IntRange(1, 40*(frameOverhead+40)).Draw(t, "maxBytes")
		r, model := newRing(maxFrames, maxBytes), &logModel{}
		reached := uint64(1) // eviction never goes back, even where the naive log would hold more
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			f := Frame{sse: []byte(strings.Repeat("x", rapid.IntRange(0, 80).Draw(t, "size"))), kind: KindMessage}
			missed := int64(1)
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				f.kind, missed = KindBindings, 0
			case 1:
				f.kind, missed = KindGap, rapid.SampledFrom([]int64{unknownCount, 0, 1, 2, 1000}).Draw(t, "missed")
			}
			f.offset = r.newest + 1
			r.tally.note(f.offset, missed)
			r.append(f)
			model.missed, model.kinds, model.costs = append(model.missed, missed), append(model.kinds, f.kind), append(model.costs, frameCost(f))
			reached = max(reached, model.first(maxFrames, maxBytes))
			checkLog(t, r, model, reached)
		}
	})
}

func checkLog(t *rapid.T, r *ring, model *logModel, first uint64) {
	if r.first != first || r.newest != uint64(len(model.missed)) {
		t.Fatalf("the log holds %d to %d, want %d to %d", r.first, r.newest, first, len(model.missed))
	}
	after := rapid.Uint64Range(0, r.newest).Draw(t, "after")
	upTo := rapid.Uint64Range(after, r.newest).Draw(t, "upTo")
	if got, want := r.tally.between(after, upTo), model.between(after, upTo); got != want {
		t.Fatalf("between %d and %d: %d messages, want %d", after, upTo, got, want)
	}
	marker := uint64(0)
	for o := uint64(1); o < first; o++ {
		if model.kinds[o-1] == KindBindings {
			marker = o
		}
	}
	if r.marker.offset != marker {
		t.Fatalf("the newest evicted marker is %d, want %d", r.marker.offset, marker)
	}
	from := max(after, r.first-1)
	maxBytes := rapid.IntRange(0, 7*80).Draw(t, "read bytes")
	frames := r.read(nil, from, 7, maxBytes)
	want, bytes := uint64(0), 0
	for want < min(7, r.newest-from) {
		bytes += model.costs[from+want] - frameOverhead
		if want > 0 && bytes > maxBytes {
			break
		}
		want++
	}
	if uint64(len(frames)) != want {
		t.Fatalf("read %d events after %d in %d bytes, want %d", len(frames), from, maxBytes, want)
	}
	for i, f := range frames {
		if f.offset != from+1+uint64(i) {
			t.Fatalf("event %d after %d is %d", i, from, f.offset)
		}
	}
}

func TestLogShrinksToALevelAndKeepsTheNewest(t *testing.T) {
	r := newRing(1000, 1<<20)
	for range 500 {
		r.append(Frame{sse: make([]byte, 100), offset: r.newest + 1})
	}
	cost := frameCost(Frame{sse: make([]byte, 100)})
	if n := r.shrink(10 * cost); n != 490 || r.len() != 10 || r.bytes != 10*cost {
		t.Fatalf("evicted %d, %d events of %d bytes are left", n, r.len(), r.bytes)
	}
	if len(r.slots) > 256 {
		t.Errorf("%d slots are kept for 10 events", len(r.slots))
	}
	if r.shrink(0); r.len() != 1 || r.read(nil, 499, 9, 1<<20)[0].offset != 500 {
		t.Error("the newest event did not stay")
	}
}

func TestTallyForgetsOnlyWhatIsOlderThanItsFloor(t *testing.T) {
	var tl tally
	for o := uint64(1); o <= 3*maxIrregular; o++ {
		tl.note(o, 0)
	}
	if len(tl.marks) > maxIrregular {
		t.Fatalf("%d marks are kept", len(tl.marks))
	}
	if got := tl.between(0, 3*maxIrregular); got != unknownCount {
		t.Errorf("a count before the floor is %d, want unknown", got)
	}
	if got := tl.between(tl.floor.offset, 3*maxIrregular+5); got != 5 {
		t.Errorf("after the floor: %d messages, want 5", got)
	}
}

func TestTimelineNeverAnswersTooLate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tl timeline
		start := time.Unix(1000, 0)
		now, newest := start, uint64(0)
		type step struct {
			at     time.Time
			newest uint64
		}
		steps := []step{{start, 0}}
		for range rapid.IntRange(0, 200).Draw(t, "appends") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			tl.note(now, newest)
			newest += rapid.Uint64Range(1, 50).Draw(t, "events")
			steps = append(steps, step{now, newest})
		}
		at := start.Add(time.Duration(rapid.Int64Range(-1000, now.Sub(start).Milliseconds()+1000).Draw(t, "at")) * time.Millisecond)
		reached := uint64(0)
		for _, s := range steps {
			if s.at.Before(at) {
				reached = s.newest
			}
		}
		if got := tl.before(at, newest); got > reached {
			t.Fatalf("answers %d, but the log had only reached %d", got, reached)
		}
	})
}

func TestFairShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Int64Range(0, 1000), 1, 30).Draw(t, "sizes")
		target := rapid.Int64Range(1, 20000).Draw(t, "target")
		total := func(level int64) (sum int64) {
			for _, s := range sizes {
				sum += min(s, level)
			}
			return sum
		}
		level := fairShare(append([]int64(nil), sizes...), target)
		if level > 1 && total(level) > target {
			t.Fatalf("at level %d all hold %d of %d", level, total(level), target)
		}
		if all := total(1 << 40); all > target && total(level+1) <= target-int64(len(sizes)) {
			t.Fatalf("level %d wastes memory", level)
		}
	})
}
