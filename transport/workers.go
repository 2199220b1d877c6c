package transport

import (
	"runtime"
	"sync"
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
	limit int // how many may run, those that are blocked not counted

	mu         sync.Mutex // guards all below
	work       sync.Cond  // something was queued, or closed set
	head, tail *stream    // the queue, linked by stream.after
	active     int        // workers that are not blocked, idle ones included
	idle       int        // those that wait in work and were not signalled
	closed     bool
	gone       sync.WaitGroup
}

func newWorkers() *workers {
	// More than there are cores, because a worker in a system call lends its
	// core to another.
	w := &workers{limit: 4 * runtime.GOMAXPROCS(0)}
	w.work.L = &w.mu
	return w
}

// push queues st, which is in no queue yet, for a turn.
func (w *workers) push(st *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	st.after = nil
	if w.tail == nil {
		w.head = st
	} else {
		w.tail.after = st
	}
	w.tail = st
	w.summon()
}

// summon gets a worker for what is queued. w.mu is held.
func (w *workers) summon() {
	switch {
	case w.idle > 0:
		w.idle--
		w.work.Signal()
	case w.active < w.limit:
		w.active++
		w.gone.Go(w.run)
	}
}

// run is a worker's goroutine.
func (w *workers) run() {
	b := newBatch()
	for {
		st := w.take()
		if st == nil {
			return
		}
		st.turn(b)
		b.forget()
	}
}

// take waits for the next stream. It returns nil when the worker shall end.
func (w *workers) take() *stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head == nil && !w.closed && w.active <= w.limit {
		w.idle++
		w.work.Wait()
	}
	if w.head == nil || w.active > w.limit {
		w.active--
		return nil
	}
	st := w.head
	if w.head = st.after; w.head == nil {
		w.tail = nil
	}
	st.after = nil
	return st
}

// block says that the calling worker is about to wait for a client; unblock
// that it does not any more.
func (w *workers) block() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active--
	if w.head != nil {
		w.summon()
	}
}

func (w *workers) unblock() {
	w.mu.Lock()
	w.active++
	w.mu.Unlock()
}

// close ends the workers. No stream may be left.
func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.idle = 0
	w.work.Broadcast()
	w.mu.Unlock()
	w.gone.Wait()
}
