package transport

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// workers run the turns of all hijacked streams. A stream has no goroutine
// while it is idle: a parked one keeps the 4 KB of stack that its last write
// needed, which is more than all the rest of a stream. A few goroutines with
// warm stacks take the streams that have something to do, first come, first
// served, and a message to 10,000 readers makes 10,000 list entries and not as
// many runnable goroutines.
//
// A turn must not keep others waiting, so a worker says when it is about to
// block, and another takes its place.
type workers struct {
	limit int                  // how many may run, those that are blocked not counted
	most  int                  // how many may have sheets for streams of a kind
	now   func() time.Duration // the server's clock

	// pushed has the streams that were queued last, the newest first, linked by
	// stream.after: whoever wakes thousands of streams takes no lock for each.
	pushed  atomic.Pointer[stream]
	queued  atomic.Int32 // streams in pushed and in head
	running atomic.Int32 // workers that are neither idle nor blocked

	mu     sync.Mutex // guards all below
	work   sync.Cond  // something was queued, or closed set
	head   *stream    // what was taken from pushed, the oldest first
	active int        // workers that are not blocked, idle ones included
	idle   int        // those that wait in work and were not signalled
	closed bool
	gone   sync.WaitGroup
	// spare has the sheets that no worker has, by kind of streams, spares how many
	// these are, and made how many there are in all.
	spare        [kinds][]*sheets
	spares, made [kinds]atomic.Int32
	// again is from when on sheets are made anew where the system has refused some,
	// on the server's clock; 0 where it has not.
	again [kinds]atomic.Int64
}

func newWorkers(now func() time.Duration) *workers {
	w := &workers{limit: max(2, runtime.GOMAXPROCS(0)), now: now}
	if smallPages() {
		w.most = min(w.limit, mostSheets)
	}
	w.work.L = &w.mu
	return w
}

// push queues st, which is in no queue yet, for a turn.
func (w *workers) push(st *stream) {
	for {
		before := w.pushed.Load()
		st.after = before
		if w.pushed.CompareAndSwap(before, st) {
			break
		}
	}
	w.queued.Add(1)
	// A worker counts itself out of running before it looks for the last time.
	if w.wanted() {
		w.mu.Lock()
		w.summon()
		w.mu.Unlock()
	}
}

// turnsPerWorker is how many streams are worth one more worker. A turn takes a
// few microseconds, and waking a goroutine on another core more than that: for
// each stream of a small crowd a worker would wake only to find nothing left.
const turnsPerWorker = 16

// wanted reports whether those that are at work are too few for what is queued.
func (w *workers) wanted() bool { return w.queued.Load() > turnsPerWorker*w.running.Load() }

// summon gets a worker if one is wanted. w.mu is held.
func (w *workers) summon() {
	if !w.wanted() {
		return
	}
	switch {
	case w.idle > 0:
		w.idle--
		w.running.Add(1)
		w.work.Signal()
	case w.active < w.limit:
		w.active++
		w.running.Add(1)
		w.gone.Go(w.run)
	}
}

// run is a worker's goroutine.
func (w *workers) run() {
	b := newBatch()
	for {
		st, rested := w.take(b)
		if st == nil {
			return
		}
		if rested {
			b.rested()
		}
		st.turn(b)
		b.forget()
	}
}

// take waits for the next stream of the worker that has b, and reports whether
// it had to. It returns nil when the worker shall end.
func (w *workers) take(b *batch) (st *stream, rested bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && w.active <= w.limit {
		if st := w.next(); st != nil {
			return st, rested
		}
		w.running.Add(-1)
		if w.pushed.Load() != nil {
			w.running.Add(1)
			continue
		}
		w.returnSheets(b)
		w.idle++
		w.work.Wait()
		w.tidy()
		rested = true
	}
	w.returnSheets(b)
	w.active--
	w.running.Add(-1)
	w.summon() // nobody else may be at work
	return nil, rested
}

// next takes the oldest stream of the queue; nil if it is empty. w.mu is held.
func (w *workers) next() *stream {
	if w.head == nil {
		for st := w.pushed.Swap(nil); st != nil; {
			older := st.after
			st.after, w.head = w.head, st
			st = older
		}
	}
	st := w.head
	if st != nil {
		w.head, st.after = st.after, nil
		w.queued.Add(-1)
	}
	return st
}

// takeSheets returns sheets for streams of a kind for a worker that has none, or
// nil. It takes those that were used last of the ones that another worker has
// left, or makes some that are wanted if there are not as many as there may be.
func (w *workers) takeSheets(kind broker.Transport, wanted bool) *sheets {
	if w.spares[kind].Load() == 0 && (!wanted || !w.more(kind)) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.spare[kind]); n > 0 {
		s := w.spare[kind][n-1]
		w.spare[kind] = w.spare[kind][:n-1]
		w.spares[kind].Store(int32(n - 1))
		return s
	}
	if !wanted || !w.more(kind) {
		return nil
	}
	s := newSheets()
	if s == nil {
		w.refused(kind)
		return nil
	}
	w.made[kind].Add(1)
	return s
}

// more reports whether there may be more sheets now.
func (w *workers) more(kind broker.Transport) bool {
	if int(w.made[kind].Load()) >= w.most {
		return false
	}
	again := w.again[kind].Load()
	return again == 0 || w.now() >= time.Duration(again)
}

// refused says that the system refuses what sheets need. It may have had no memory
// just then, so that it is asked again, though not soon.
func (w *workers) refused(kind broker.Transport) { w.again[kind].Store(int64(w.now() + sheetRest)) }

// tidy frees what sheets have that nobody had use of for a while. w.mu is held.
func (w *workers) tidy() {
	for kind := range w.spare {
		for _, s := range w.spare[kind] {
			s.tidy(w.now())
		}
	}
}

// returnSheets takes the sheets that b has, for who has work. w.mu is held.
func (w *workers) returnSheets(b *batch) {
	for kind := range b.crowds {
		if c := &b.crowds[kind]; c.sheets != nil {
			w.spare[kind] = append(w.spare[kind], c.sheets)
			w.spares[kind].Store(int32(len(w.spare[kind])))
			c.sheets = nil
		}
	}
}

// block says that the calling worker is about to wait for a client with what b
// has, and leaves its sheets to whoever takes its place; unblock says that it
// does not wait any more.
func (w *workers) block(b *batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returnSheets(b)
	w.active--
	w.running.Add(-1)
	w.summon()
}

func (w *workers) unblock() {
	w.mu.Lock()
	w.active++
	w.running.Add(1)
	w.mu.Unlock()
}

// close ends the workers. No stream may be left.
func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.running.Add(int32(w.idle)) // they count themselves out
	w.idle = 0
	w.work.Broadcast()
	w.mu.Unlock()
	w.gone.Wait()
	for kind := range w.spare {
		for _, s := range w.spare[kind] {
			s.close()
		}
		w.spare[kind] = nil
	}
}
