package transport

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
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
	st.onto(conn)
	head := append(responseHead(w.Header()), opening()...)
	if !s.enter(st) {
		st.release()
		_, frame := s.refusal(errShuttingDown())
		s.refuse(st.out, func() { st.out.last(append(head, frame.SSE()...), closeGrace) })
		return
	}
	st.head = head
	if !s.poll.watch(st, conn) {
		st.reader = make(chan struct{})
		go func() {
			defer close(st.reader)
			discard(conn)
			st.notify(flagGone)
		}()
	}
	st.start()
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
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout)) // best effort: it may be one of thousands
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
