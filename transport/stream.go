package transport

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// What a stream is told while it waits; bits of stream.flags.
const (
	flagGone  uint32 = 1 << iota // the client closed or vanished
	flagBeat                     // a heartbeat may be due
	flagDrain                    // write what is ready, then say bye
	flagAbort                    // end at once
	flagReply                    // answers or control frames are waiting (WebSocket)
	flagFault                    // end with stream.fault
)

// closeGrace is how long a WebSocket client may take to answer a close frame,
// and any client to take its bye.
const closeGrace = time.Second

// stream is one client's stream, SSE or WebSocket: an attachment, an output and
// the one goroutine that moves frames from the one to the other.
type stream struct {
	srv       *Server
	out       output
	att       *broker.Attachment
	session   Session
	ws        *wsConn // nil on SSE
	transport broker.Transport

	signal chan struct{} // one token: flags have changed
	flags  atomic.Uint32

	// lastSent and lastPing are on the server's clock; the wheel reads them.
	lastSent, lastPing atomic.Int64

	started                 time.Duration
	messages, gaps, written uint64
	// ask is how many frames the next round takes from the log.
	ask int

	// The wheel's, under its mutex.
	prev, next *stream
	slot       int

	mu     sync.Mutex         // guards all below
	cancel context.CancelFunc // of the operation under way
	fault  Reason
	dead   bool // operations are cancelled before they begin
}

func newStream(s *Server, t broker.Transport) *stream {
	st := &stream{
		srv: s, transport: t,
		signal: make(chan struct{}, 1), started: s.now(), ask: firstAsk,
	}
	st.lastSent.Store(int64(st.started))
	st.lastPing.Store(int64(st.started))
	return st
}

// notify sets a flag and wakes the stream.
func (st *stream) notify(flag uint32) {
	st.flags.Or(flag)
	select {
	case st.signal <- struct{}{}:
	default:
	}
	if flag&(flagGone|flagAbort) != 0 {
		st.cancelOperation()
	}
}

// hangUp says that the client closed its side. A WebSocket's reader finds out
// by itself, after a close frame that may come before; unless it is busy with a
// request, which nobody waits for any more.
func (st *stream) hangUp() {
	if st.ws == nil {
		st.notify(flagGone)
		return
	}
	st.cancelOperation()
}

// abort ends the stream at once, whatever its client does.
func (st *stream) abort() {
	st.notify(flagAbort)
	st.out.abort()
}

// fail ends the stream with a bye of the reason; the first reason counts.
func (st *stream) fail(reason Reason) {
	st.mu.Lock()
	if st.fault == "" {
		st.fault = reason
	}
	st.mu.Unlock()
	st.notify(flagFault)
}

// operation runs f with a context that ends with the stream.
func (st *stream) operation(f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(st.srv.base)
	defer cancel()
	st.mu.Lock()
	st.cancel = cancel
	if st.dead {
		cancel()
	}
	st.mu.Unlock()
	f(ctx)
	st.mu.Lock()
	st.cancel = nil
	st.mu.Unlock()
}

func (st *stream) cancelOperation() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.dead = true
	if st.cancel != nil {
		st.cancel()
	}
}

// ending says how a stream ends; the zero value says that it does not.
type ending struct {
	reason Reason
	// whole says that a bye may follow what the client has got.
	whole bool
	// retry is after how long to come back, 0 for the usual time.
	retry time.Duration
}

// run moves frames until the stream ends, and says how.
func (st *stream) run() ending {
	for {
		end, more := st.flush()
		if end.reason != "" {
			return end
		}
		if more {
			continue
		}
		st.out.idle()
		select {
		case <-st.att.Wake():
		case <-st.signal:
		}
	}
}

// flush writes all that is ready. more says that there may be more at once.
func (st *stream) flush() (end ending, more bool) {
	b := getBatch()
	defer b.release()
	flags := st.flags.Swap(0)
	if end = st.ending(flags); end.reason != "" {
		return end, false
	}
	for round := 0; ; round++ {
		var err error
		if b.frames, err = st.att.Next(b.frames[:0], st.ask); err != nil {
			return ending{reason: endReason(err), whole: true}, false
		}
		ready := len(b.frames)
		if round == 0 && flags != 0 {
			st.addOwn(b, flags)
		}
		if len(b.frames) == 0 && !st.hasControl() {
			break
		}
		if whole, err := st.write(b); err != nil {
			return ending{reason: st.writeFailure(err), whole: whole}, false
		}
		if ready > 0 {
			st.att.Handed()
		}
		if st.flags.Load() != 0 {
			st.flags.Or(flags & flagDrain) // not dealt with yet
			return ending{}, true
		}
	}
	if flags&flagDrain != 0 {
		return ending{reason: ReasonShuttingDown, whole: true}, false
	}
	return ending{}, false
}

// ending looks for flags that end the stream at once.
func (st *stream) ending(flags uint32) ending {
	switch {
	case flags&flagAbort != 0:
		return ending{reason: ReasonShuttingDown}
	case flags&flagGone != 0:
		return ending{reason: ReasonClientGone, whole: true}
	case flags&flagFault != 0:
		st.mu.Lock()
		defer st.mu.Unlock()
		return ending{reason: st.fault, whole: true}
	case flags&flagBeat != 0 && st.ws != nil && st.ws.silent(st.srv):
		return ending{reason: ReasonSlowReader, whole: true}
	}
	return ending{}
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

func (st *stream) hasControl() bool { return st.ws != nil && st.ws.hasControl() }

// How many frames a round takes: few at first and where frames are big, so that
// a stalled client does not hold much of what its log has evicted.
const firstAsk = 16

// write writes b.frames, as many per system call as fit.
func (st *stream) write(b *batch) (whole bool, err error) {
	var head [maxHeader]byte
	total, writes := 0, uint64(0)
	b.reset()
	if st.ws != nil {
		b.buf = st.ws.takeControl(b.buf)
		b.size = len(b.buf)
	}
	for _, f := range b.frames {
		before, body := st.parts(f, &head)
		if !b.room(len(before) + len(body)) {
			total += b.size
			writes++
			if whole, err = st.send(b); err != nil {
				return whole, err
			}
		}
		b.add(before, body)
	}
	total += b.size
	if whole, err = st.send(b); err != nil {
		return whole, err
	}
	st.count(b.frames, total, writes+1)
	return true, nil
}

func (st *stream) parts(f broker.Frame, head *[maxHeader]byte) (before, body []byte) {
	if st.ws == nil {
		return nil, f.SSE()
	}
	body = f.JSON()
	return appendHeader(head[:0], opText, len(body)), body
}

func (st *stream) send(b *batch) (whole bool, err error) {
	b.seal()
	whole, err = st.out.write(b)
	b.reset()
	return whole, err
}

// count counts what was written, once per round.
func (st *stream) count(frames []broker.Frame, bytes int, writes uint64) {
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
	st.written += uint64(bytes) //nolint:gosec // a length
	c := st.srv.counters(st.transport)
	c.frames.Add(uint64(len(frames)))
	c.messages.Add(messages)
	c.bytes.Add(uint64(bytes)) //nolint:gosec // a length
	c.flushes.Add(writes)
	if n := len(frames); n > 0 {
		st.ask = min(max(2*writeBytes*n/max(bytes, 1), 1), batchFrames)
	}
}

func (st *stream) writeFailure(err error) Reason {
	switch {
	case errors.Is(err, errSlow):
		return ReasonSlowReader
	case st.flags.Load()&flagAbort != 0:
		return ReasonShuttingDown
	}
	return ReasonClientGone
}

func endReason(err error) Reason {
	var end *broker.End
	if errors.As(err, &end) {
		return RuleOf(Reason(end.Reason)).Reason
	}
	return ReasonInternalError
}

// guarded calls f and turns a panic into an end, as net/http does for its
// handlers: one stream's fault must not be everybody's.
func (st *stream) guarded(f func() ending) (end ending) {
	defer func() {
		if p := recover(); p != nil {
			st.srv.opts.Logger.Error("panic in a stream", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			end = ending{reason: ReasonInternalError}
		}
	}()
	return f()
}

// finish says bye and closes, and gives back all that the stream held.
func (st *stream) finish(end ending) {
	s := st.srv
	st.goodbye(end, s.byeFrame(end.reason, end.retry))
	st.cancelOperation()
	st.release()
	code := RuleOf(end.reason).Code
	if end.reason == ReasonClientGone {
		code = codeAbnormal
	}
	s.logEnd(StreamEnd{
		Transport: st.transport, Reason: end.reason, Code: code, Duration: s.now() - st.started,
		Messages: st.messages, Gaps: st.gaps, Bytes: st.written,
	})
}

// goodbye writes the bye, if anybody may read it, and closes the connection.
func (st *stream) goodbye(end ending, frame broker.Frame) {
	patience := closeGrace
	if end.reason == ReasonSlowReader {
		patience = 5 * time.Millisecond // its socket is full: only what the kernel takes at once
	}
	switch {
	case !end.whole:
	case st.ws != nil:
		st.ws.goodbye(st.out, end.reason, frame, patience)
	case end.reason != ReasonClientGone:
		st.out.last(frame.SSE(), patience)
	}
	st.out.close()
}

// release gives back the attachment and the session, in this order, after the
// reader of a WebSocket is gone.
func (st *stream) release() {
	if st.att != nil {
		st.att.Close()
	}
	if st.ws != nil {
		st.ws.wait()
	}
	if st.session != nil {
		st.session.Closed()
	}
}
