package transport

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// What a stream is told; bits of stream.flags.
const (
	flagRunning uint32 = 1 << iota // it has a turn, or is queued for one
	flagWake                       // its attachment has something
	flagGone                       // the client closed or vanished
	flagBeat                       // a heartbeat may be due
	flagDrain                      // write what is ready, then say bye
	flagAbort                      // end at once
	flagReply                      // answers or control frames are waiting (WebSocket)
	flagFault                      // end with stream.fault
)

// maxRounds is how many system calls a turn may take while others wait.
const maxRounds = 4

// stream is one client's stream, SSE or WebSocket. What moves its frames is a
// turn: a worker's, or on HTTP/2 its handler's. There is at most one at a time,
// which flagRunning sees to, so what a turn uses needs no lock.
//
// What each message needs comes first, in two cache lines of 64 bytes: between
// two messages to a crowd a stream leaves the cache.
type stream struct {
	flags     atomic.Uint32
	transport broker.Transport
	draining  bool
	after     *stream // the workers': the next in their queue
	// turns is where the handler of an HTTP/2 stream waits for its next turn;
	// nil on hijacked connections.
	turns chan struct{}
	srv   *Server
	att   *broker.Attachment
	ws    *wsConn // nil on SSE
	out   output

	head []byte // to be written before the first frame, nil once it is
	// raw is the connection, where a write can be tried without waiting; nil where not.
	raw               syscall.RawConn
	lastSent          atomic.Int64 // as lastPing
	messages, written uint64

	gaps     uint64
	lastPing atomic.Int64 // on the server's clock; the wheel reads it
	// left is how many messages a drain still waits for, once it is draining:
	// those that were ready when it began, or a fast publisher would put off the
	// bye until the window is over.
	left    int64
	started time.Duration
	session Session

	// The wheel's, under its mutex.
	prev, next *stream
	slot       int

	// watched names the connection to the poller; reader is closed when the
	// goroutine has ended that reads where there is no poller, nil for none.
	watched pollToken
	reader  chan struct{}

	mu     sync.Mutex         // guards all below
	cancel context.CancelFunc // of the operation under way
	fault  Reason
	dead   bool // operations are cancelled before they begin
}

// newStream returns a stream that waits for nothing before start.
func newStream(s *Server, t broker.Transport) *stream {
	st := &stream{srv: s, transport: t, started: s.now()}
	st.flags.Store(flagRunning)
	st.lastSent.Store(int64(st.started))
	st.lastPing.Store(int64(st.started))
	return st
}

// onto makes conn what the stream writes to.
func (st *stream) onto(conn net.Conn) {
	c := newSocket(conn, st.srv)
	st.out = c
	if c.tcp != nil {
		st.raw = rawConn(conn)
	}
}

// start gives a stream that has its attachment its first turn.
func (st *stream) start() {
	st.att.Notify(st)
	st.srv.workers.push(st)
}

// Woken implements broker.Wakeable: the attachment has something.
func (st *stream) Woken() { st.notify(flagWake) }

// notify sets a flag, and sees to a turn unless there is one.
func (st *stream) notify(flag uint32) {
	for {
		old := st.flags.Load()
		if !st.flags.CompareAndSwap(old, old|flag|flagRunning) {
			continue
		}
		if old&flagRunning == 0 {
			if st.turns != nil {
				st.turns <- struct{}{} // of capacity one, and nobody else sends
			} else {
				st.srv.workers.push(st)
			}
		}
		break
	}
	if flag&(flagGone|flagAbort) != 0 {
		st.cancelOperation()
	}
}

// polled says that the client sent something or closed its side. A WebSocket's
// reader finds out what it is, unless it is busy with a request, or the stream
// still being opened: nobody waits for these any more.
func (st *stream) polled() {
	switch {
	case st.ws == nil:
		st.notify(flagGone)
	case !st.ws.startReading():
		st.cancelOperation()
	}
}

// turn moves frames until none are ready, the stream ends, or it is time to let
// others have theirs.
func (st *stream) turn(b *batch) {
	more := false
	end := st.guarded(func() (end ending) {
		end, more = st.flush(b)
		return end
	})
	switch {
	case end.reason != "":
		go st.over(end) // it waits for its client
	case more || !st.flags.CompareAndSwap(flagRunning, 0):
		st.srv.workers.push(st)
	}
}

// flush writes what is ready. more says that there may be more at once.
func (st *stream) flush(b *batch) (end ending, more bool) {
	b.again = false
	flags := st.flags.Swap(flagRunning)
	if end = st.ending(flags); end.reason != "" {
		return end, false
	}
	st.beginDrain(flags)
	own := flags // what adds frames of its own does so once
	for range maxRounds {
		wrote, end := st.round(b, own)
		if end.reason != "" {
			return end, false
		}
		if !wrote && flags&flagDrain != 0 {
			return ending{reason: ReasonShuttingDown, whole: true}, false
		}
		own = 0
		now := st.flags.Load()
		if now == flagRunning && (!wrote || st.att.Dry() && flags&flagDrain == 0) {
			return ending{}, false // the attachment wakes it
		}
		if now != flagRunning && !st.flags.CompareAndSwap(flagRunning|flagWake, flagRunning) {
			break
		}
	}
	st.flags.Or(flags & flagDrain) // not dealt with yet
	return ending{}, true
}

// round writes what is ready, at most so much that others need not wait, and
// reports whether there was anything. flags say what else is due.
func (st *stream) round(b *batch, flags uint32) (wrote bool, end ending) {
	var err error
	if b.frames, err = st.att.Next(b.frames[:0], batchFrames, writeBytes); err != nil {
		return false, ending{reason: endReason(err), whole: true}
	}
	ready := len(b.frames)
	st.addOwn(b, flags)
	// What makes a control frame due sets one of the flags, and most turns need
	// not look for any: on a cold cache, that is a good part of what they do.
	control := flags&(flagReply|flagBeat) != 0 && st.hasControl()
	if len(b.frames) == 0 && !control {
		return false, ending{}
	}
	if whole, err := st.write(b, control); err != nil {
		return true, ending{reason: st.writeFailure(err), whole: whole}
	}
	if st.wrote(b.frames, ready) {
		return true, ending{reason: ReasonShuttingDown, whole: true}
	}
	return true, ending{}
}

// addOwn adds the frames that come from here and not from the log.
func (st *stream) addOwn(b *batch, flags uint32) {
	if flags&flagReply != 0 && st.ws != nil {
		b.frames = st.ws.takeReplies(b.frames)
	}
	if flags&flagBeat == 0 {
		return
	}
	now := st.srv.now()
	if len(b.frames) == 0 && now >= st.srv.wheel.early(&st.lastSent) {
		b.frames = append(b.frames, broker.PingFrame(time.Now(), st.att.Newest()))
	}
	if st.ws != nil && now >= st.srv.wheel.early(&st.lastPing) {
		st.lastPing.Store(int64(now))
		st.ws.queuePing(now)
	}
}

// beginDrain notes at the first word of a drain how much it waits for.
func (st *stream) beginDrain(flags uint32) {
	if flags&flagDrain != 0 && !st.draining {
		st.draining, st.left = true, int64(st.att.Lag())
	}
}

// wrote says that frames, ready of them from the attachment, are with the
// socket, and reports whether a drain need not wait for more.
func (st *stream) wrote(frames []broker.Frame, ready int) (done bool) {
	if ready > 0 {
		st.att.Handed()
		st.observe(frames)
	}
	if !st.draining {
		return false
	}
	for _, f := range frames {
		if f.Offset() > 0 { // the log's own
			st.left--
		}
	}
	return st.left <= 0
}

func (st *stream) hasControl() bool { return st.ws != nil && st.ws.hasControl() }

// write writes b.frames, behind the control frames that are due if control
// says that there are any, as many per system call as fit.
func (st *stream) write(b *batch, control bool) (whole bool, err error) {
	sent := 0
	b.cut = 0
	if st.head == nil && !control {
		if sent, b.cut = st.writeShared(b); sent == len(b.frames) {
			return true, nil
		}
	}
	whole, err = st.writeOwn(b, b.frames[sent:], control)
	if c := &b.crowds[st.transport]; c.doubted {
		c.doubted = false
		if c.sheets != nil && err == nil {
			c.drop(st) // it was not the socket that was in the way
		}
	}
	return whole, err
}

// writeOwn writes frames that the stream shares with nobody.
func (st *stream) writeOwn(b *batch, frames []broker.Frame, control bool) (whole bool, err error) {
	var head [maxHeader]byte
	b.reset()
	b.buf = append(b.buf, st.head...)
	if control {
		b.buf = st.ws.takeControl(b.buf)
	}
	b.size = len(b.buf)
	sent := 0
	for i := range frames {
		before, body := st.parts(frames[i], &head)
		if !b.room(len(before) + len(body)) {
			if whole, err = st.send(b, frames[sent:i]); err != nil {
				return whole, err
			}
			sent = i
		}
		b.add(before, body)
	}
	return st.send(b, frames[sent:])
}

// writeShared writes b.frames from the worker's sheets if that is worth it, as
// far as the socket takes them at once: not for a few bytes, and not unless
// others are sent the same. It returns how many it wrote, and how much of the
// next one.
func (st *stream) writeShared(b *batch) (sent, cut int) {
	if st.raw == nil || !shareable(b.frames) {
		return 0, 0
	}
	c := &b.crowds[st.transport]
	if !b.again { // of the rounds of a turn the first tells
		b.again, c.expected = true, c.seen.repeats(st, b.frames[0].Offset())
	}
	c.seen.upTo(b.frames[len(b.frames)-1].Offset())
	for sent < len(b.frames) {
		in, skip, n := c.find(b, st, b.frames[sent:])
		if n == 0 {
			return sent, 0
		}
		from, to := in.lies.place(skip), in.lies.place(skip+n)
		written, ok := in.trySend(st.raw, b, from, to)
		c.doubted = !ok
		done, cut := in.passed(skip, n, from+written)
		if done > 0 {
			st.count(b.frames[sent:sent+done], written-cut)
		}
		if sent += done; done < n {
			return sent, cut
		}
	}
	return sent, 0
}

func (st *stream) parts(f broker.Frame, head *[maxHeader]byte) (before, body []byte) {
	if st.ws == nil {
		return nil, f.SSE()
	}
	body = f.JSON()
	return appendHeader(head[:0], opText, len(body)), body
}

// send writes what was added to b: frames, and what comes before them.
func (st *stream) send(b *batch, frames []broker.Frame) (whole bool, err error) {
	size := b.size
	b.seal()
	b.advance(b.cut)
	if whole, err = st.put(b); err == nil {
		st.head = nil
		st.count(frames, size)
	}
	whole = whole && (err == nil || b.cut == 0)
	b.cut = 0
	b.reset()
	return whole, err
}

// put writes b.rest: what the socket takes at once on the worker's time, and
// what it has to wait for on nobody else's.
func (st *stream) put(b *batch) (whole bool, err error) {
	written := 0
	if st.raw != nil {
		if written, err = tryWrite(st.raw, b); err != nil || len(b.rest) == 0 {
			return err == nil, err
		}
	}
	whole, err = st.out.write(b)
	return whole && (err == nil || written == 0), err
}

// count counts what was written.
func (st *stream) count(frames []broker.Frame, bytes int) {
	if len(frames) > 0 { // control frames do not count: a page cannot see them
		st.lastSent.Store(int64(st.srv.now()))
	}
	messages := uint64(0)
	for _, f := range frames {
		switch f.Kind() { //nolint:exhaustive // the others are not counted
		case broker.KindMessage:
			messages++
		case broker.KindGap:
			st.gaps++
		}
	}
	st.messages += messages
	st.written += uint64(bytes)
	c := st.srv.counters(st.transport)
	c.frames.Add(uint64(len(frames)))
	c.messages.Add(messages)
	c.bytes.Add(uint64(bytes))
	c.flushes.Add(1)
}
