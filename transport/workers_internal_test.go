package transport

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// TestNoReaderWaitsForTheHeartbeat has readers pause, resume, leave and come back
// while messages flow, on few workers of which some block. The heartbeat is an
// hour away, so that whoever is not woken for a message is never woken; and when
// all have everything, no worker may be counted wrongly.
func TestNoReaderWaitsForTheHeartbeat(t *testing.T) {
	for _, limit := range []int{1, 2, 4} {
		for _, blocks := range []int{0, 2, 20} {
			w := newWakeWorld(t, limit, blocks)
			for range 40 {
				w.round()
				w.allHaveAll()
				if t.Failed() {
					break
				}
			}
			w.atRest()
			w.close()
			if t.Failed() {
				t.Fatalf("with %d workers, one in %d writes blocks", limit, blocks)
			}
		}
	}
}

// TestReaderHoldsLittleOfTheLogWhateverCameBefore has readers that just got many small messages find many large ones: what a turn
// has taken, a client that stalls keeps in memory even when the log has evicted it.
func TestReaderHoldsLittleOfTheLogWhateverCameBefore(t *testing.T) {
	w := newWakeWorld(t, 2, 0)
	defer w.close()
	publish := func(n, size, most int) {
		w.sub.Pause() // so that all of it is ready at once
		for range n {
			m := broker.Message{Exchange: "orders", RoutingKey: "k", Body: []byte(`"` + strings.Repeat("x", size) + `"`)}
			if !w.source.Queue(w.sub.Stream()).Deliver(m) {
				t.Fatal("the queue is closed")
			}
			w.sent++
		}
		w.sub.Resume()
		w.allHaveAll()
		for i, r := range w.readers {
			if held := r.got.held.Load(); held > int64(most) {
				t.Errorf("%d bytes each: reader %d of %d held %d bytes of frames", size, i, len(w.readers), held)
			}
		}
	}
	publish(300, 10, writeBytes)
	publish(60, 60_000, writeBytes)
	publish(3, 300_000, 301_000) // more than a write, so one at a time
}

// TestWorkerThatRestedNeedNotTellTheScheduler has one worker write to a crowd, once per message: what it may write past Go's
// scheduler begins anew after a rest, and only then.
func TestWorkerThatRestedNeedNotTellTheScheduler(t *testing.T) {
	w := newWakeWorld(t, 1, 0)
	defer w.close()
	for range 2 {
		w.attach(0)
	}
	w.atRest()
	const left = 5 // of what a write finds after the first
	for range 3 {
		queued := make(chan struct{})
		var found []int // by the only worker
		write := func(b *batch) {
			<-queued // all streams by then, so that the worker finds no rest between them
			found = append(found, b.quiet)
			b.quiet = left
		}
		w.onWrite.Store(&write)
		if !w.source.Queue(w.sub.Stream()).Deliver(broker.Message{Exchange: "orders", RoutingKey: "k", Body: []byte("1")}) {
			t.Fatal("the queue is closed")
		}
		w.sent++
		close(queued)
		w.allHaveAll()
		w.atRest()
		w.onWrite.Store(nil)
		if len(found) != len(w.readers) || found[0] != quietWrites {
			t.Fatalf("%d readers: the writes had %v left, want %d of the first", len(w.readers), found, quietWrites)
		}
		for _, n := range found[1:] {
			if n != left {
				t.Fatalf("the writes had %v left, want %d without a rest", found, left)
			}
		}
	}
}

// wakeWorld is one subscription with readers whose output is counted only.
type wakeWorld struct {
	t       *testing.T
	source  *brokertest.Fake
	core    *broker.Broker
	server  *Server
	sub     *broker.Subscription
	blocks  int
	onWrite atomic.Pointer[func(*batch)] // what each write calls first
	sent    uint64
	readers []wakeReader
}

type wakeReader struct {
	stream *stream
	got    *countingOutput
}

func newWakeWorld(t *testing.T, limit, blocks int) *wakeWorld {
	t.Helper()
	w := &wakeWorld{t: t, source: brokertest.NewFake(), blocks: blocks}
	w.core = broker.New(broker.Options{Source: w.source, Limits: broker.DefaultLimits()})
	w.server = New(Options{Heartbeat: time.Hour, Problem: func(*broker.Error) []byte { return []byte("{}") }})
	w.server.workers.limit = limit
	binding, err := broker.NewBinding("orders", "#", nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.sub, err = w.core.Create(t.Context(), broker.Spec{Bindings: []broker.Binding{binding}, Linger: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for range 1 + rand.IntN(40) {
		w.attach(0)
	}
	return w
}

// attach opens a stream after an offset.
func (w *wakeWorld) attach(after uint64) {
	w.t.Helper()
	start := broker.Start{From: broker.FromEarliest}
	if after > 0 {
		start = broker.Start{After: broker.Position{Stream: w.sub.Stream(), Offset: after}}
	}
	att, err := w.sub.Attach(broker.AttachSpec{Transport: broker.SSE, Start: start})
	if err != nil {
		w.t.Fatal(err)
	}
	st := newStream(w.server, broker.SSE)
	out := &countingOutput{workers: w.server.workers, blocks: w.blocks, onWrite: &w.onWrite, closed: make(chan struct{})}
	out.got.Store(after)
	st.att, st.out = att, out
	if !w.server.enter(st) {
		w.t.Fatal("the server takes no stream")
	}
	st.start()
	w.readers = append(w.readers, wakeReader{st, out})
}

// round publishes, while one reader pauses and is held, and another may come back.
func (w *wakeWorld) round() {
	messages := rand.IntN(4)
	if rand.IntN(20) == 0 {
		messages = rand.IntN(700)
	}
	w.sent += uint64(messages)
	var all sync.WaitGroup
	all.Go(func() {
		for range messages {
			if !w.source.Queue(w.sub.Stream()).Deliver(broker.Message{Exchange: "orders", RoutingKey: "k", Body: []byte("1")}) {
				w.t.Error("the queue is closed")
			}
		}
	})
	all.Go(func() {
		w.sub.Pause()
		runtime.Gosched()
		w.sub.Resume()
	})
	paused := w.readers[rand.IntN(len(w.readers))].stream.att
	all.Go(func() {
		for range 5 {
			paused.Pause()
			runtime.Gosched()
			paused.Resume()
			paused.Hold()
			runtime.Gosched()
			paused.Release()
		}
	})
	if rand.IntN(3) == 0 {
		i := rand.IntN(len(w.readers))
		gone := w.readers[i]
		w.readers[i] = w.readers[len(w.readers)-1]
		w.readers = w.readers[:len(w.readers)-1]
		w.attach(gone.got.got.Load())
		all.Go(func() {
			gone.stream.notify(flagGone)
			<-gone.got.closed
		})
	}
	all.Wait()
}

// wakePatience is what a slow machine may take.
const wakePatience = 30 * time.Second

func (w *wakeWorld) allHaveAll() {
	w.t.Helper()
	for i, r := range w.readers {
		if !w.eventually(func() bool { return r.got.got.Load() >= w.sent }) {
			w.t.Errorf("reader %d of %d has %d of %d: flags %b", i, len(w.readers), r.got.got.Load(), w.sent, r.stream.flags.Load())
		}
		if offset := r.got.jumped.Load(); offset != 0 {
			w.t.Errorf("reader %d of %d jumped to %d", i, len(w.readers), offset)
		}
	}
}

// atRest holds the workers' counts to each other.
func (w *wakeWorld) atRest() {
	w.t.Helper()
	ws := w.server.workers
	counts := func() (queued, running int32, active, idle int) {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		return ws.queued.Load(), ws.running.Load(), ws.active, ws.idle
	}
	if !w.eventually(func() bool {
		queued, running, active, idle := counts()
		return queued == 0 && running == 0 && active == idle && active <= ws.limit
	}) {
		queued, running, active, idle := counts()
		w.t.Errorf("at rest %d are queued, %d workers run, of %d active ones %d are idle, %d may be", queued, running, active, idle, ws.limit)
	}
}

func (w *wakeWorld) eventually(holds func() bool) bool {
	for deadline := time.Now().Add(wakePatience); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func (w *wakeWorld) close() {
	w.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wakePatience)
	defer cancel()
	if err := w.core.Close(ctx); err != nil {
		w.t.Error(err)
	}
	if err := w.source.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

// countingOutput takes everything, and blocks its worker now and then.
type countingOutput struct {
	workers *workers
	blocks  int // one in so many writes blocks; 0: none
	onWrite *atomic.Pointer[func(*batch)]
	got     atomic.Uint64
	jumped  atomic.Uint64
	held    atomic.Int64 // the most bytes of frames that a write had before it
	closed  chan struct{}
}

func (o *countingOutput) write(b *batch) (whole bool, err error) {
	if f := o.onWrite.Load(); f != nil {
		(*f)(b)
	}
	held := int64(0)
	for _, f := range b.frames {
		held += int64(len(f.SSE()))
	}
	o.held.Store(max(o.held.Load(), held)) // only turns of its own stream write
	for _, f := range b.frames {
		switch before := o.got.Load(); {
		case f.Offset() <= before: // of a write in several parts, or none of the log's
		case f.Offset() != before+1:
			o.jumped.Store(f.Offset())
		default:
			o.got.Store(f.Offset())
		}
	}
	if o.blocks > 0 && rand.IntN(o.blocks) == 0 {
		o.workers.block(b)
		runtime.Gosched()
		o.workers.unblock()
	}
	b.rest = nil
	return true, nil
}

func (o *countingOutput) idle()                      {}
func (o *countingOutput) last([]byte, time.Duration) {}
func (o *countingOutput) close()                     { close(o.closed) }
func (o *countingOutput) abort()                     {}
