package transport

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// setSSEHeaders sets what every event stream has, whatever a middleware set.
func setSSEHeaders(h http.Header) {
	// No charset: an event stream is UTF-8 by definition.
	h.Set("Content-Type", "text/event-stream")
	// no-transform keeps proxies from compressing, which would hold frames back.
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx
	h.Del("Content-Length")
}

// HeadSSE answers a HEAD request as the stream would begin.
func (s *Server) HeadSSE(w http.ResponseWriter) {
	setSSEHeaders(w.Header())
	w.WriteHeader(http.StatusOK)
}

// opening is what an event stream begins with: after how long to come back when
// it is cut.
func opening() []byte {
	b := append(make([]byte, 0, 16), "retry: "...)
	b = strconv.AppendInt(b, int64(retryMS()), 10)
	return append(b, "\n\n"...)
}

// ServeSSE answers the request with the attachment's stream. The attachment and
// the session are the stream's from now on. On HTTP/1.1 it takes over the
// connection and returns at once, else when the stream has ended. While
// draining, the request is refused with shutting_down.
func (s *Server) ServeSSE(w http.ResponseWriter, r *http.Request, att *broker.Attachment, session Session) {
	st := newStream(s, broker.SSE)
	st.att, st.session = att, session
	setSSEHeaders(w.Header())
	conn, ok := hijackSSE(w, r)
	if !ok {
		s.serveResponse(w, r, st)
		return
	}
	st.out = newSocket(conn, s)
	head := append(responseHead(w.Header()), opening()...)
	if !s.enter(st) {
		st.release()
		_, frame := s.refusal(errShuttingDown())
		s.refuse(st.out, func() { st.out.last(append(head, frame.SSE()...), closeGrace) })
		return
	}
	go s.streamSSE(st, conn, head)
}

// streamSSE is the goroutine of a hijacked event stream.
func (s *Server) streamSSE(st *stream, conn net.Conn, head []byte) {
	defer s.leave(st)
	token, watched := s.poll.watch(conn, st)
	gone := make(chan struct{})
	if watched {
		close(gone)
	} else {
		go func() {
			defer close(gone)
			discard(conn)
			st.notify(flagGone)
		}()
	}
	end := st.guarded(func() ending { return st.runAfter(head) })
	s.poll.unwatch(conn, token)
	st.finish(end)
	<-gone
}

// runAfter writes what the stream begins with, and runs it.
func (st *stream) runAfter(head []byte) ending {
	b := getBatch()
	b.add(nil, head)
	whole, err := st.send(b)
	b.release()
	if err != nil {
		return ending{reason: st.writeFailure(err), whole: whole}
	}
	return st.run()
}

// discard reads until the client closes: what it sends after its request is
// nobody's business.
func discard(conn net.Conn) {
	var b [64]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
	}
}

// hijackSSE takes over the connection of an HTTP/1 request, so that net/http's
// goroutine and buffers, two thirds of what an idle stream takes, are freed.
func hijackSSE(w http.ResponseWriter, r *http.Request) (net.Conn, bool) {
	if r.ProtoMajor != 1 {
		return nil, false
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	return conn, err == nil
}

// responseHead returns the status line and the headers of a hijacked answer:
// its end is the end of the connection, so nothing is chunked.
func responseHead(h http.Header) []byte {
	h = h.Clone()
	h.Set("Connection", "close")
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.WriteSubset(&b, map[string]bool{"Content-Length": true, "Transfer-Encoding": true})
	b.WriteString("\r\n")
	return b.Bytes()
}

// RefuseSSE answers an EventSource that cannot be served now: a stream that
// says when to come back and ends. An EventSource would give up for good on any
// other status.
func (s *Server) RefuseSSE(w http.ResponseWriter, _ *http.Request, err *broker.Error) {
	_, frame := s.refusal(err)
	setSSEHeaders(w.Header())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(opening(), frame.SSE()...))
}

// refuse runs f, which says goodbye on out, a connection of ours, on a
// goroutine of its own, so that the handler can return.
func (s *Server) refuse(out output, f func()) {
	if !s.refusing() {
		out.close()
		return
	}
	go func() {
		defer s.goodbyes.done()
		defer out.close()
		f()
	}()
}

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
	stop := context.AfterFunc(r.Context(), func() { st.notify(flagGone) })
	defer stop()
	st.finish(st.guarded(func() ending {
		w.WriteHeader(http.StatusOK)
		return st.runAfter(opening())
	}))
}

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

func (o *response) write(b *batch) (whole bool, err error) {
	if now := o.now(); o.deadline == 0 || now+o.timeout > o.deadline {
		slack := min(time.Second, o.timeout/8)
		o.deadline = now + o.timeout + slack
		_ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout + slack))
	}
	for _, p := range b.rest {
		if _, err := o.w.Write(p); err != nil {
			return false, o.failure(err)
		}
	}
	if err := o.rc.Flush(); err != nil {
		return false, o.failure(err)
	}
	return true, nil
}

// failure tells a deadline of ours from a client that left.
func (o *response) failure(err error) error {
	if o.deadline > 0 && o.now() >= o.deadline {
		return errSlow
	}
	return err
}

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
