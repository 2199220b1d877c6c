package transport

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
)

// lying is what a batch's sheets for a kind of streams have.
func lying(b *batch, kind broker.Transport) (s [2]stretch) {
	if own := b.crowds[kind].sheets; own != nil {
		for i, t := range []*sheet{own.newer, own.older} {
			s[i] = t.lies
			s[i].ends = slices.Clone(t.lies.ends)
		}
	}
	return s
}

// TestCrowdSharesWhatIsPutTogether looks at what is put into the sheets, of which streams of each kind have their own: by the
// second reader what it is sent, so far as that is not there, and by those after it nothing. One reader alone puts nothing there.
func TestCrowdSharesWhatIsPutTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newStretchWorld(t)
		defer w.close()
		log, b := w.logs[0], w.batches[0]
		for range 3 {
			w.attach(t, log, broker.SSE, 0, false)
			w.attach(t, log, broker.WS, 0, false)
		}
		for _, r := range w.readers {
			w.turn(t, r, b) // the frame that says ready is its own
		}
		size := rapid.SampledFrom([]int{250, 3000}).Draw(t, "size")
		few := 1 + sharedBytes/size
		for round := range rapid.IntRange(1, 5).Draw(t, "rounds") {
			w.publish(t, log, rapid.IntRange(40, 100).Draw(t, "messages"), size)
			for i, r := range w.readers {
				i /= kinds
				before := lying(b, r.kind)
				w.turn(t, r, b)
				after := lying(b, r.kind)
				there := after[0].first > 0 && after[0].next()+uint64(few) > log.sent // but for a rest that is too small
				switch alone := round == 0 && i == 0; {
				case alone && there:
					t.Fatal("a reader alone puts something there")
				case i > 0 && !there:
					t.Fatalf("round %d, reader %d: the next would be event %d, and %d were sent", round, i, after[0].next(), log.sent)
				case i > 1 && !same(before, after):
					t.Fatalf("round %d, reader %d has put something there", round, i)
				}
			}
		}
		w.check(t)
	})
}

func same(a, b [2]stretch) bool {
	for i := range a {
		if a[i].first != b[i].first || !slices.Equal(a[i].ends, b[i].ends) {
			return false
		}
	}
	return true
}

// TestWhatWaitsInASocketIsNotOverwritten has clients that read nothing, while others have the sheets begin anew over and over.
func TestWhatWaitsInASocketIsNotOverwritten(t *testing.T) {
	w := newStretchWorld(t)
	defer w.close()
	log, b := w.logs[0], w.batches[0]
	for _, idle := range []bool{false, false, true, true, true} {
		w.attach(t, log, broker.SSE, 0, idle)
	}
	begun := 0
	for before := lying(b, broker.SSE); begun < 6; {
		w.publish(t, log, 100, 1000)
		for _, r := range w.readers {
			w.turn(t, r, b)
		}
		now := lying(b, broker.SSE)
		if now[0].first != before[0].first {
			begun++
		}
		before = now
	}
	w.check(t)
}

// TestSocketsTakeInPartsWhatReadersShare has sockets with little room: what one of them did not take at once it gets while the
// worker waits for it, and the next reader finds the rest whole.
func TestSocketsTakeInPartsWhatReadersShare(t *testing.T) {
	const messages, rounds = 100, 3 // about 50 KB at a time
	w := newStretchWorld(t)
	defer w.close()
	log, b := w.logs[0], w.batches[0]
	waited := 0
	for _, kind := range []broker.Transport{broker.SSE, broker.SSE, broker.SSE, broker.WS, broker.WS, broker.WS} {
		w.attach(t, log, kind, 0, false)
	}
	for _, r := range w.readers {
		_ = control(r.raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10) })
		r.out = waitingOutput{r.out, &waited}
		w.turn(t, r, b)
	}
	for range rounds {
		w.publish(t, log, messages, 250)
		for _, r := range w.readers {
			w.turn(t, r, b)
		}
	}
	w.check(t)
	if waited == 0 {
		t.Error("no socket left a part of a write to wait for")
	}
}

// waitingOutput counts the writes that have to wait for the client.
type waitingOutput struct {
	output
	waited *int
}

func (o waitingOutput) write(b *batch) (whole bool, err error) {
	*o.waited++
	return o.output.write(b)
}

// TestSheetsAreHandedOn: who waits for a client leaves its sheets to who takes its place, with what lies there, which is of use
// to streams of the same kind alone; and there are never more than workers may run.
func TestSheetsAreHandedOn(t *testing.T) {
	w := newWorkers()
	w.active = w.limit
	w.running.Store(int32(w.limit)) // nobody is summoned
	var waits *batch
	for range w.limit {
		for kind := range kinds {
			waits = newBatch()
			if waits.crowds[kind].sheets = w.takeSheets(broker.Transport(kind)); waits.crowds[kind].sheets == nil {
				t.Fatal("no sheets")
			}
			defer waits.crowds[kind].sheets.close()
		}
	}
	if w.takeSheets(broker.SSE) != nil || w.takeSheets(broker.WS) != nil {
		t.Fatalf("more sheets than %d workers", w.limit)
	}
	given := waits.crowds[broker.WS].sheets
	w.block(waits)
	if waits.crowds[broker.WS].sheets != nil || w.takeSheets(broker.SSE) != nil || w.takeSheets(broker.WS) != given {
		t.Error("the sheets were not handed on")
	}
}

// TestSheetThatTakesNothingHasNothing: what the system refuses to keep is written from where it lies.
func TestSheetThatTakesNothingHasNothing(t *testing.T) {
	w := newStretchWorld(t)
	defer w.close()
	log, b := w.logs[0], w.batches[0]
	refused := &sheets{newer: &sheet{fd: -1}, older: &sheet{fd: -1}}
	b.crowds[broker.WS].sheets = refused
	for range 4 {
		w.attach(t, log, broker.WS, 0, false)
	}
	for range 3 {
		w.publish(t, log, 100, 250)
		for _, r := range w.readers {
			w.turn(t, r, b)
		}
	}
	if b.crowds[broker.WS].sheets != refused || len(refused.newer.lies.ends) > 0 || len(refused.older.lies.ends) > 0 {
		t.Error("what is not there is said to be")
	}
	w.check(t)
}
