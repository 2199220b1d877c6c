package transport

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// TestWhatReadersShareIsWhatEachWouldGet has streams of two logs, of both kinds, take their turns with the same batches, in
// any order: each gets the bytes of its own events, and every one once. Some of their clients read nothing before the end.
func TestWhatReadersShareIsWhatEachWouldGet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newStretchWorld(t)
		defer w.close()
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				log := rapid.SampledFrom(w.logs).Draw(t, "log")
				size := rapid.SampledFrom([]int{1, 250, 1000, bigFrame - 300, 3000, coalesceBytes, writeBytes + 10}).Draw(t, "size")
				messages := rapid.SampledFrom([]int{1, 2, 40, batchFrames + 20}).Draw(t, "messages")
				w.publish(t, log, min(messages, 1+200_000/size), size)
			},
			"attach": func(t *rapid.T) {
				log := rapid.SampledFrom(w.logs).Draw(t, "log")
				kind := rapid.SampledFrom([]broker.Transport{broker.SSE, broker.WS}).Draw(t, "transport")
				w.attach(t, log, kind, rapid.Uint64Range(0, log.sent).Draw(t, "after"), rapid.Bool().Draw(t, "idle client"))
			},
			"turn": func(t *rapid.T) {
				if len(w.readers) > 0 {
					r := rapid.SampledFrom(w.readers).Draw(t, "reader")
					w.turn(t, r, rapid.SampledFrom(w.batches[:]).Draw(t, "batch"))
				}
			},
			"answer": func(t *rapid.T) {
				if len(w.readers) > 0 {
					w.answer(rapid.SampledFrom(w.readers).Draw(t, "reader"))
				}
			},
			"all": func(t *rapid.T) {
				for _, r := range w.readers {
					w.turn(t, r, w.batches[0])
				}
			},
		})
		w.check(t)
	})
}

// stretchWorld has logs, and streams that take a turn when they are told to.
type stretchWorld struct {
	source  *brokertest.Fake
	core    *broker.Broker
	server  *Server
	logs    []*stretchLog
	readers []*stretchReader
	batches [2]*batch
	port    net.Listener
}

type stretchLog struct {
	sub  *broker.Subscription
	sent uint64
}

type stretchReader struct {
	*stream
	kind  broker.Transport
	start broker.Start
	log   *stretchLog
	peer  net.Conn
	// idle clients read nothing before the end. What their sockets have no room for
	// is rest, and they get nothing after it.
	idle, full bool
	rest       []byte
	got        chan *bytes.Buffer
	// answers is how many requests of a WebSocket were answered.
	answers int
}

// idleOutput takes what the socket of an idle client has no room for.
type idleOutput struct {
	output
	r *stretchReader
}

func (o idleOutput) write(b *batch) (whole bool, err error) {
	for _, p := range b.rest {
		o.r.rest = append(o.r.rest, p...)
	}
	b.rest, o.r.full = nil, true
	return true, nil
}

func (r *stretchReader) read() {
	got := readBuffers.Get().(*bytes.Buffer)
	got.Reset()
	_, _ = got.ReadFrom(r.peer)
	r.got <- got
}

// readBuffers keep what others have read into: most of what growing ones anew costs is the race detector's.
var readBuffers = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 256<<10)) }}

func newStretchWorld(t rapid.TB) *stretchWorld {
	w := &stretchWorld{source: brokertest.NewFake(), batches: [2]*batch{newBatch(), newBatch()}}
	limits := broker.DefaultLimits()
	limits.LogBytes, limits.MemoryBudget = 1<<30, 1<<30 // what a reader gets does not depend on when its turn is
	w.core = broker.New(broker.Options{Source: w.source, Limits: limits})
	w.server = New(Options{Heartbeat: time.Hour, Problem: func(*broker.Error) []byte { return []byte("{}") }})
	w.server.workers.most = len(w.batches) // whatever the processors and their pages
	binding, err := broker.NewBinding("orders", "#", nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.port, err = new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		sub, err := w.core.Create(context.Background(), broker.Spec{Bindings: []broker.Binding{binding}, Linger: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		w.logs = append(w.logs, &stretchLog{sub: sub})
	}
	return w
}

func (w *stretchWorld) close() {
	_ = w.port.Close()
	for _, r := range w.readers {
		r.out.close()
		_ = r.peer.Close()
	}
	w.server.workers.mu.Lock()
	for _, b := range w.batches {
		w.server.workers.returnSheets(b) // they are closed with the workers
	}
	w.server.workers.mu.Unlock()
	w.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wakePatience)
	defer cancel()
	_ = w.core.Close(ctx)
	_ = w.source.Close(ctx)
}

// publish has the log have so many messages more.
func (w *stretchWorld) publish(t rapid.TB, log *stretchLog, messages, size int) {
	body := []byte(`"` + strings.Repeat("x", size) + `"`)
	for range messages {
		if !w.source.Queue(log.sub.Stream()).Deliver(broker.Message{Exchange: "orders", RoutingKey: "k", Body: body}) {
			t.Fatal("the queue is closed")
		}
		log.sent++
	}
	probe := w.open(t, log, broker.SSE, broker.Start{From: broker.FromLatest})
	defer probe.Close()
	newest := broker.Position{Stream: log.sub.Stream(), Offset: log.sent}.String()
	if !(&wakeWorld{}).eventually(func() bool { return probe.Newest() == newest }) {
		t.Fatalf("the log is at %s and not at %s", probe.Newest(), newest)
	}
}

func (w *stretchWorld) open(t rapid.TB, log *stretchLog, kind broker.Transport, start broker.Start) *broker.Attachment {
	att, err := log.sub.Attach(broker.AttachSpec{Transport: kind, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	return att
}

func (w *stretchWorld) attach(t rapid.TB, log *stretchLog, kind broker.Transport, after uint64, idle bool) {
	r := &stretchReader{
		stream: newStream(w.server, kind), kind: kind, log: log, start: broker.Start{From: broker.FromEarliest},
		idle: idle, got: make(chan *bytes.Buffer, 1),
	}
	if after > 0 {
		r.start = broker.Start{After: broker.Position{Stream: log.sub.Stream(), Offset: after}}
	}
	peer, err := new(net.Dialer).DialContext(context.Background(), "tcp", w.port.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := w.port.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r.peer = peer
	r.onto(conn)
	if idle {
		r.out = idleOutput{r.out, r}
	} else {
		go r.read()
	}
	r.att = w.open(t, log, kind, r.start)
	if kind == broker.WS {
		r.ws = &wsConn{}
	}
	r.att.Notify(r.stream)
	w.readers = append(w.readers, r)
}

// answer has a frame of its own come to a WebSocket.
func (w *stretchWorld) answer(r *stretchReader) {
	if r.ws == nil || r.full {
		return
	}
	r.answers++
	r.ws.mu.Lock()
	r.ws.replies = append(r.ws.replies, broker.PongFrame([]byte(`"answer"`)))
	r.ws.mu.Unlock()
	r.flags.Or(flagReply)
}

// turn is what a worker does with a stream, without the queue.
func (w *stretchWorld) turn(t rapid.TB, r *stretchReader, b *batch) {
	if r.full {
		return
	}
	end, _ := r.flush(b)
	b.forget()
	if end.reason != "" {
		t.Fatalf("the stream has ended: %s", end.reason)
	}
	if len(b.frames) != 0 || len(b.vecs) != 0 || len(b.rest) != 0 {
		t.Fatal("a batch keeps what it has written")
	}
}

// check holds what each has got to what the log has for such a reader.
func (w *stretchWorld) check(t rapid.TB) {
	for i, r := range w.readers {
		for before := ^uint64(0); r.written != before; {
			before = r.written
			w.turn(t, r, w.batches[1])
		}
		r.out.close()
		if r.idle {
			go r.read()
		}
		read, want := <-r.got, w.want(t, r)
		read.Write(r.rest)
		got := read.Bytes()
		if uint64(len(got)) != r.written {
			t.Fatalf("reader %d got %d bytes, and %d were counted", i, len(got), r.written)
		}
		answer := broker.PongFrame([]byte(`"answer"`)).JSON()
		answer = append(appendHeader(nil, opText, len(answer)), answer...)
		if n := bytes.Count(got, answer); n != r.answers && !r.full {
			t.Fatalf("reader %d got %d answers, want %d", i, n, r.answers)
		}
		if r.answers > 0 {
			got = bytes.ReplaceAll(got, answer, nil)
		}
		if r.full {
			want = want[:min(len(want), len(got))]
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("reader %d got %d bytes, want %d, or others", i, len(got), len(want))
		}
		readBuffers.Put(read)
	}
}

// want is what a reader should get, answers aside.
func (w *stretchWorld) want(t rapid.TB, r *stretchReader) (want []byte) {
	att := w.open(t, r.log, r.kind, r.start)
	defer att.Close()
	want = make([]byte, 0, r.written+uint64(len(r.rest)))
	for frames, more := []broker.Frame(nil), true; more; more = len(frames) > 0 {
		var err error
		if frames, err = att.Next(frames[:0], 100, 1<<30); err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			if r.kind == broker.SSE {
				want = append(want, f.SSE()...)
			} else {
				want = append(appendHeader(want, opText, len(f.JSON())), f.JSON()...)
			}
		}
	}
	return want
}
