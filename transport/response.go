package transport

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// serveResponse streams on the handler's goroutine: HTTP/2, and HTTP/1 where
// the connection cannot be taken over.
func (s *Server) serveResponse(w http.ResponseWriter, r *http.Request, st *stream) {
	st.out = &response{w: w, rc: http.NewResponseController(w), timeout: s.opts.WriteTimeout, now: s.now}
	if !s.enter(st) {
		st.release()
		s.RefuseSSE(w, r, errShuttingDown())
		return
	}
	defer s.leave(st)
	st.turns = make(chan struct{}, 1)
	st.head = opening()
	stop := context.AfterFunc(r.Context(), func() { st.notify(flagGone) })
	defer stop()
	st.att.Notify(st)
	st.finish(st.guarded(func() ending { //nolint:contextcheck // what finish waits for is bounded by time, after the request's end too
		w.WriteHeader(http.StatusOK)
		return st.takeTurns()
	}))
}

// takeTurns takes the turns of a stream that has a goroutine of its own.
func (st *stream) takeTurns() ending {
	for {
		b := batches.Get().(*batch) //nolint:forcetypeassert // the pool has nothing else
		end, more := st.flush(b)
		b.forget()
		batches.Put(b)
		if end.reason != "" {
			return end
		}
		if more {
			continue
		}
		st.out.idle()
		if st.flags.CompareAndSwap(flagRunning, 0) {
			<-st.turns
		}
	}
}

// batches are for streams that have no worker.
var batches = sync.Pool{New: func() any { return newBatch() }}

// response is the output of a stream that net/http writes.
type response struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	now     func() time.Duration
	// deadline is the one that is set, 0 for none. On HTTP/2 a deadline that
	// passes resets the stream even while it is idle, so idle takes it away.
	deadline time.Duration

	mu     sync.Mutex // guards closed: the response is gone once its handler has returned
	closed bool
}

// responsePiece is how many bytes a client has to take within the write timeout.
const responsePiece = 8 << 10

// write implements output. A client that takes what there is slowly is not slow
// in the contract's sense, so each piece has the write timeout anew.
func (o *response) write(b *batch) (whole bool, err error) {
	if o.late() {
		return false, errSlow
	}
	for _, p := range b.rest {
		for len(p) > 0 {
			o.extend()
			n, err := o.w.Write(p[:min(len(p), responsePiece)])
			if err = o.outcome(err); err != nil {
				return false, err
			}
			p = p[n:]
		}
	}
	o.extend()
	err = o.outcome(o.rc.Flush())
	return err == nil, err
}

// extend moves the deadline, not more often than is worth it.
func (o *response) extend() {
	if now := o.now(); o.deadline == 0 || now+o.timeout > o.deadline {
		slack := min(time.Second, o.timeout/8)
		o.deadline = now + o.timeout + slack
		_ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout + slack))
	}
}

// outcome tells a deadline of ours from a client that left. What waited until
// after it may be done after all, but the stream is being reset.
func (o *response) outcome(err error) error {
	if o.late() {
		return errSlow
	}
	return err
}

// late reports whether the deadline has passed.
func (o *response) late() bool { return o.deadline > 0 && o.now() >= o.deadline }

func (o *response) idle() {
	if o.deadline > 0 {
		o.deadline = 0
		_ = o.rc.SetWriteDeadline(time.Time{})
	}
}

func (o *response) last(p []byte, patience time.Duration) {
	_ = o.rc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := o.w.Write(p); err == nil {
		_ = o.rc.Flush()
	}
}

func (o *response) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

func (o *response) abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		_ = o.rc.SetWriteDeadline(time.Unix(1, 0))
	}
}
