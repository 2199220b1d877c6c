package transport

import (
	"bytes"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

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

// TestCrowdSharesWhatIsPutTogether looks at what is put into the sheets, of which streams of each kind have their own: when so
// many have been sent it that it is worth it, and then by who is the first to be sent more, and by nobody else.
func TestCrowdSharesWhatIsPutTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newStretchWorld(t)
		defer w.close()
		log, b := w.logs[0], w.batches[0]
		for range sheetReaders + 2 {
			w.attach(t, log, broker.SSE, 0, false)
			w.attach(t, log, broker.WS, 0, false)
		}
		for _, r := range w.readers {
			w.turn(t, r, b) // the frame that says ready is its own
		}
		size := rapid.SampledFrom([]int{250, 3000}).Draw(t, "size")
		few := 1 + sharedBytes/size
		for round := range rapid.IntRange(1, 3).Draw(t, "rounds") {
			w.publish(t, log, rapid.IntRange(40, 90).Draw(t, "messages"), size)
			for i, r := range w.readers {
				i /= kinds
				before := lying(b, r.kind)
				w.turn(t, r, b)
				after := lying(b, r.kind)
				there := after[0].first > 0 && after[0].next()+uint64(few) > log.sent // but for a rest that is too small
				switch {
				case round == 0 && i < sheetReaders && after[0].first > 0:
					t.Fatalf("reader %d puts something there", i)
				case (round > 0 || i >= sheetReaders) && !there:
					t.Fatalf("round %d, reader %d: the next would be event %d, and %d were sent", round, i, after[0].next(), log.sent)
				case (round > 0 && i > 0 || i > sheetReaders) && !same(before, after):
					t.Fatalf("round %d, reader %d has put something there", round, i)
				}
			}
		}
		w.check(t)
	})
}

// TestReaderThatIsLeftAlonePutsNothingThere, but once.
func TestReaderThatIsLeftAlonePutsNothingThere(t *testing.T) {
	w, log, b := crowded(t, nil)
	for range 10 {
		w.publish(t, log, 100, 1000)
		w.turn(t, w.readers[0], b)
	}
	if s := lying(b, broker.SSE); s[0].next() > log.sent-900+1 {
		t.Errorf("what the last one is sent lies there, too: up to event %d of %d", s[0].next(), log.sent)
	}
	w.check(t)
}

// crowded returns a world that has readers by SSE for whom something lies in the sheets: own, or some that are made if that is nil.
func crowded(t *testing.T, own *sheets) (w *stretchWorld, log *stretchLog, b *batch) {
	t.Helper()
	w = newStretchWorld(t)
	t.Cleanup(w.close)
	log, b = w.logs[0], w.batches[0]
	b.crowds[broker.SSE].sheets = own
	for range sheetReaders + 2 {
		w.attach(t, log, broker.SSE, 0, false)
	}
	for range 2 {
		for _, r := range w.readers {
			w.turn(t, r, b)
		}
		w.publish(t, log, 100, 250)
	}
	for _, r := range w.readers {
		w.turn(t, r, b)
	}
	if s := lying(b, broker.SSE); s[0].next() != log.sent+1 {
		t.Fatalf("the next would be event %d, and %d were sent", s[0].next(), log.sent)
	}
	return w, log, b
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
	for _, idle := range []bool{false, false, false, false, true, true, true} {
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
	for _, kind := range slices.Repeat([]broker.Transport{broker.SSE, broker.WS}, sheetReaders+2) {
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

// TestByeFollowsOnlyWholeFramesOfACrowd has a client that reads nothing of what the others are sent until its socket is full: a
// bye may follow what it has if that ends with a whole frame.
func TestByeFollowsOnlyWholeFramesOfACrowd(t *testing.T) {
	w, log, b := crowded(t, nil)
	for try := range 100 {
		w.attach(t, log, broker.SSE, log.sent, true)
		r := w.readers[len(w.readers)-1]
		w.readers = w.readers[:len(w.readers)-1]
		defer r.peer.Close()
		r.out = slowOutput{r.out}
		end := ending{}
		for end.reason == "" {
			w.publish(t, log, 100, 1000+try)
			for _, r := range w.readers {
				w.turn(t, r, b)
			}
			end, _ = r.flush(b)
			b.forget()
		}
		r.out.close()
		go r.read()
		got := (<-r.got).Bytes()
		whole := bytes.HasSuffix(got, []byte("\n\n"))
		if end.whole && !whole || end.reason != ReasonSlowReader {
			t.Fatalf("%s after %q, and whole is %v", end.reason, got[max(0, len(got)-20):], end.whole)
		}
		if !whole {
			w.check(t)
			return
		}
	}
	t.Error("each of 100 sockets was full at the end of a frame")
}

// TestSheetsAreHandedOn: who waits for a client leaves its sheets to who takes its place, and what lies there is of use at
// once, to streams of the same kind alone.
func TestSheetsAreHandedOn(t *testing.T) {
	w, log, b := crowded(t, nil)
	w.publish(t, log, 100, 250)
	for _, r := range w.readers[1:] {
		w.turn(t, r, b)
	}
	before, sheets := lying(b, broker.SSE), b.crowds[broker.SSE].sheets
	w.server.workers.block(b)
	w.server.workers.unblock()
	if b.crowds[broker.SSE].sheets != nil {
		t.Fatal("who waits keeps its sheets")
	}
	w.attach(t, log, broker.WS, log.sent, false)
	w.turn(t, w.readers[len(w.readers)-1], w.batches[1])
	used := sheets.used
	w.turn(t, w.readers[0], w.batches[1])
	if w.batches[1].crowds[broker.SSE].sheets != sheets || w.batches[1].crowds[broker.WS].sheets != nil ||
		!same(before, lying(w.batches[1], broker.SSE)) || sheets.used == used {
		t.Error("what lies there was of no use")
	}
	w.check(t)
}

// TestSheetsAreBounded: there are no more than workers may run, and no more than so many.
func TestSheetsAreBounded(t *testing.T) {
	for _, most := range []int{0, 1, 5} {
		w := newWorkers(nil)
		w.most = most
		for kind := range broker.Transport(kinds) {
			if w.takeSheets(kind, false) != nil {
				t.Error("sheets that nobody wants")
			}
			for range most {
				s := w.takeSheets(kind, true)
				if s == nil {
					t.Fatal("no sheets")
				}
				defer s.close()
			}
			if w.takeSheets(kind, true) != nil {
				t.Errorf("more sheets than %d", most)
			}
		}
	}
	if w := newWorkers(nil); w.most > min(w.limit, mostSheets) {
		t.Errorf("%d sheets for %d workers", w.most, w.limit)
	}
}

// TestWhatIsTooLargeLeavesTheRest: a message that no sheet has room for leaves what lies there.
func TestWhatIsTooLargeLeavesTheRest(t *testing.T) {
	w, log, b := crowded(t, nil)
	before := lying(b, broker.SSE)
	w.publish(t, log, 1, sheetBytes)
	for _, r := range w.readers {
		w.turn(t, r, b)
	}
	if !same(before, lying(b, broker.SSE)) {
		t.Error("something else lies there")
	}
	w.check(t)
}

// TestIdleSheetsAreFreed, and serve the next crowd.
func TestIdleSheetsAreFreed(t *testing.T) {
	w, log, b := crowded(t, nil)
	s, now := b.crowds[broker.SSE].sheets, time.Duration(0)
	workers := &workers{now: func() time.Duration { return now }}
	workers.returnSheets(b)
	now = s.used + sheetIdle
	if workers.tidy(); s.newer.size == 0 {
		t.Error("freed too early")
	}
	now++
	workers.tidy()
	var stat unix.Stat_t
	if err := unix.Fstat(s.newer.fd, &stat); err != nil || stat.Blocks != 0 || s.newer.size != 0 || len(s.newer.lies.ends) != 0 {
		t.Errorf("%d blocks left, %v", stat.Blocks, err)
	}
	b.crowds[broker.SSE].sheets = s
	w.publish(t, log, 100, 250)
	for _, r := range w.readers {
		w.turn(t, r, b)
	}
	if s := lying(b, broker.SSE); s[0].next() != log.sent+1 {
		t.Error("nothing lies there for the next")
	}
	w.check(t)
}

// TestWorkerThatRestsLeavesItsSheets to the next that has work, which frees them when they were of no use for long.
func TestWorkerThatRestsLeavesItsSheets(t *testing.T) {
	w, log, b := crowded(t, nil)
	workers, clock, s := w.server.workers, new(atomic.Int64), b.crowds[broker.SSE].sheets
	workers.mu.Lock()
	workers.now = func() time.Duration { return time.Duration(clock.Load()) }
	workers.returnSheets(b)
	workers.mu.Unlock()
	look := func(f func() bool) bool {
		return (&wakeWorld{}).eventually(func() bool {
			workers.mu.Lock()
			defer workers.mu.Unlock()
			return len(workers.spare[broker.SSE]) == 1 && workers.idle > 0 && f()
		})
	}
	used := s.used
	for _, r := range w.readers {
		r.stream.start()
	}
	for range 3 { // the crowd's worker has to be known to it as one
		w.publish(t, log, 100, 250)
		if !look(func() bool { return true }) {
			t.Fatal("a worker that rests keeps its sheets")
		}
	}
	if !look(func() bool { return s.used > used && s.newer.size > 0 }) {
		t.Fatal("the sheets were of no use")
	}
	clock.Store(int64(w.server.now() + sheetIdle + time.Minute))
	w.publish(t, log, 1, 10)
	if !look(func() bool { return s.newer.size == 0 && s.older.size == 0 }) {
		t.Error("the sheets keep what nobody has use of")
	}
	for _, r := range w.readers {
		r.att.Close() // nothing wakes them when the workers have ended
	}
}

// TestWhatATurnThatPanickedLeftIsNotUsed: it may have noted an event that it did not put there any more.
func TestWhatATurnThatPanickedLeftIsNotUsed(t *testing.T) {
	w, log, b := crowded(t, nil)
	newer := b.crowds[broker.SSE].sheets.newer
	newer.lies.ends = append(newer.lies.ends, newer.size+480)
	for range 2 {
		w.publish(t, log, 100, 250)
		for _, r := range w.readers {
			w.turn(t, r, b)
		}
	}
	w.check(t)
}

// TestWhoIsLateTellsNothing of a crowd, unless that many are.
func TestWhoIsLateTellsNothing(t *testing.T) {
	w := newStretchWorld(t)
	defer w.close()
	w.attach(t, w.logs[0], broker.SSE, 0, false)
	w.attach(t, w.logs[1], broker.SSE, 0, false)
	st, other := w.readers[0].stream, w.readers[1].stream
	var g glance
	lap := func(st *stream, streams int, first, last uint64) (expected int) {
		for range streams {
			if g.repeats(st, first) {
				expected++
			}
			g.upTo(last)
		}
		return expected
	}
	for _, step := range []struct {
		what        string
		st          *stream
		streams     int
		first, last uint64
		want        int
	}{
		{"the fourth is of a crowd", st, sheetReaders + 2, 100, 140, 2},
		{"who is late is not", st, sheetPatience, 50, 90, 0},
		{"the lap goes on", st, 1, 100, 140, 1},
		{"others are late", st, sheetPatience, 50, 90, 0},
		{"the next lap is a crowd's", st, 1, 141, 180, 1},
		{"the one after it is not, since that had one", st, 1, 181, 220, 0},
		{"neither is what comes after a gap in the next, nor who is alone", st, 3, 300, 340, 0},
		{"so many are late that they are the crowd", st, sheetPatience + sheetReaders + 1, 50, 90, 1},
		{"another log is another crowd", other, sheetReaders, 50, 90, 0},
	} {
		if got := lap(step.st, step.streams, step.first, step.last); got != step.want {
			t.Errorf("%s: %d times of %d", step.what, got, step.streams)
		}
	}
}

// TestSystemThatRefusesIsNotAskedAgainSoon has it refuse what sheets need, with readers whose sockets refer to what lies there
// already: each gets what is its own, by ordinary writes.
func TestSystemThatRefusesIsNotAskedAgainSoon(t *testing.T) {
	for name, refuse := range map[string]func(*sheet) error{
		"ftruncate": func(s *sheet) error { return seal(s, unix.F_SEAL_SHRINK) }, // what comes would overwrite what sockets refer to
		"pwritev":   func(s *sheet) error { return seal(s, unix.F_SEAL_GROW) },
		"sendfile": func(s *sheet) error { // of a file that is open for writing alone
			fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(s.fd), unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd) //nolint:errcheck // nothing was written
			return unix.Dup3(fd, s.fd, unix.O_CLOEXEC)
		},
	} {
		t.Run(name, func(t *testing.T) { refused(t, refuse) })
	}
}

func seal(s *sheet, how int) error {
	_, err := unix.FcntlInt(uintptr(s.fd), unix.F_ADD_SEALS, how)
	return err
}

func refused(t *testing.T, refuse func(*sheet) error) {
	t.Helper()
	s := sealable(t)
	w, log, b := crowded(t, s)
	for range 3 {
		w.attach(t, log, broker.SSE, log.sent, true)
	}
	workers, clock := w.server.workers, w.server.now()
	workers.now = func() time.Duration { return clock }
	workers.most = 1
	workers.made[broker.SSE].Store(1)
	w.publish(t, log, 100, 250)
	w.turn(t, w.readers[0], b) // who comes next finds it there
	for _, sheet := range []*sheet{s.newer, s.older} {
		if err := refuse(sheet); err != nil {
			t.Fatal(err)
		}
	}
	for range 30 {
		for _, r := range w.readers {
			w.turn(t, r, b)
		}
		w.publish(t, log, 100, 1000)
	}
	clock += sheetRest - 1
	if b.crowds[broker.SSE].sheets != nil || workers.takeSheets(broker.SSE, true) != nil {
		t.Error("the sheets are in use")
	}
	w.check(t)
	clock++
	s = workers.takeSheets(broker.SSE, true)
	if s == nil || workers.takeSheets(broker.SSE, true) != nil {
		t.Fatal("there are no others when the system has had its rest, or more than there may be")
	}
	b.crowds[broker.SSE].sheets = s // closed with the world
}

// sealable returns sheets whose files may be sealed.
func sealable(t *testing.T) *sheets {
	t.Helper()
	s := &sheets{newer: &sheet{}, older: &sheet{}}
	for _, sheet := range []*sheet{s.newer, s.older} {
		var err error
		if sheet.fd, err = unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
