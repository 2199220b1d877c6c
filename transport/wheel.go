package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// wheelSlots is how finely the heartbeat is divided: a ping comes at most a
// sixteenth of the interval early.
const wheelSlots = 16

// wheel wakes streams that are due for a heartbeat: one timer for all of them,
// where one each would be a heap of 50,000 timers that every write moves. A
// stream is looked at once per interval, however much it writes. It is the
// registry of open streams, too.
type wheel struct {
	interval time.Duration
	tick     time.Duration
	now      func() time.Duration

	mu    sync.Mutex // guards all below, and the links of every stream
	slots [wheelSlots + 1]*stream
	hand  int
}

func newWheel(interval time.Duration, now func() time.Duration) *wheel {
	return &wheel{interval: interval, tick: max(interval/wheelSlots, time.Millisecond), now: now}
}

// run turns the wheel until ctx ends.
func (w *wheel) run(ctx context.Context) {
	ticker := time.NewTicker(w.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.turn()
		}
	}
}

// turn wakes the streams of the next slot that are due, and puts all of them
// where they will be due next.
func (w *wheel) turn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hand = (w.hand + 1) % len(w.slots)
	st := w.slots[w.hand]
	w.slots[w.hand] = nil
	now := w.now()
	for st != nil {
		next := st.next
		due := w.due(st)
		if due <= now {
			st.notify(flagBeat)
			due = w.next(st, now)
		}
		w.link(st, due-now)
		st = next
	}
}

// early returns when the stream is due that did something last: a tick before
// the interval is over, so that no heartbeat comes late.
func (w *wheel) early(last *atomic.Int64) time.Duration {
	return time.Duration(last.Load()) + w.interval - w.tick
}

func (w *wheel) due(st *stream) time.Duration {
	due := w.early(&st.lastSent)
	if st.ws != nil {
		due = min(due, w.early(&st.lastPing))
	}
	return due
}

// next returns when a stream that is due now is to be looked at again. On a WebSocket its two pings are due apart when it was
// opened some time before its last frame: the one must not put off the other by an interval.
func (w *wheel) next(st *stream, now time.Duration) time.Duration {
	next := now + w.interval
	for _, last := range []*atomic.Int64{&st.lastSent, &st.lastPing} {
		if due := w.early(last); due > now && (last == &st.lastSent || st.ws != nil) {
			next = min(next, due)
		}
	}
	return next
}

// link puts st into the slot that is reached after d.
func (w *wheel) link(st *stream, d time.Duration) {
	ticks := min(max(int((d+w.tick-1)/w.tick), 1), wheelSlots)
	slot := (w.hand + ticks) % len(w.slots)
	st.slot = slot
	st.prev, st.next = nil, w.slots[slot]
	if st.next != nil {
		st.next.prev = st
	}
	w.slots[slot] = st
}

func (w *wheel) add(st *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link(st, w.interval)
}

func (w *wheel) remove(st *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if st.prev != nil {
		st.prev.next = st.next
	} else {
		w.slots[st.slot] = st.next
	}
	if st.next != nil {
		st.next.prev = st.prev
	}
	st.prev, st.next = nil, nil
}

// each calls f for every open stream; f must not block.
func (w *wheel) each(f func(*stream)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, st := range w.slots {
		for ; st != nil; st = st.next {
			f(st)
		}
	}
}
