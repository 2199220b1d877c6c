package transport

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// closeGrace is how long a WebSocket client may take to answer a close frame,
// and any client to take its bye.
const closeGrace = time.Second

// ending says how a stream ends; the zero value says that it does not.
type ending struct {
	reason Reason
	// whole says that a bye may follow what the client has got.
	whole bool
	// retry is after how long to come back, 0 for the usual time.
	retry time.Duration
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

// over ends a stream on a hijacked connection.
func (st *stream) over(end ending) {
	st.finish(end)
	st.srv.leave(st)
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
	if end, ok := errors.AsType[*broker.End](err); ok {
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
	s.poll.unwatch(st)
	st.goodbye(end, s.byeFrame(end.reason, end.retry))
	st.cancelOperation()
	st.release()
	s.logEnd(StreamEnd{
		Transport: st.transport, Reason: end.reason, Code: CloseCode(end.reason), Duration: s.now() - st.started,
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
		st.out.last(append(st.head, frame.SSE()...), patience) // nobody may have had a turn yet
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
		_ = st.ws.lib.CloseNow() // takes the library's finalizer off
	}
	if st.reader != nil {
		<-st.reader
	}
	if st.session != nil {
		st.session.Closed()
	}
}
