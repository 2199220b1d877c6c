package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/warren-gateway/warren/broker"
)

const (
	// maxRequest is the largest WebSocket message a client may send, in bytes.
	maxRequest = 16 << 10
	// maxReplies is how many answers wait for the stream's goroutine before the
	// reader waits too, and with it the client.
	maxReplies = 16
)

// wsConn is the connection that the WebSocket library has: it reads from the
// client's, but does not write. The stream's goroutine is the only writer, so
// that frames of both can share a system call and a control frame never waits
// behind, or gets into, a data frame. What the library writes is control
// frames only, and each Write is one whole.
type wsConn struct {
	net.Conn // for the addresses; what matters is below

	conn net.Conn
	lib  *websocket.Conn
	st   *stream

	// The reader's:
	early   []byte    // came with the handshake
	readErr error     // the connection's own, to tell it from the library's
	unread  io.Reader // the rest of a message that broke the rules
	track   frameTracker
	// polite says that the poller tells when there is something to read, so
	// that the reader ends where it would wait for another message. between
	// says that it is not in the middle of one.
	polite, between bool

	// unanswered is when the ping was sent that the client has not answered
	// (0: none), on the server's clock.
	unanswered atomic.Int64
	// acked is what the client's kernel had acknowledged when the ping was sent,
	// or when a late pong was last forgiven; only turns use it.
	acked uint64
	// busy says that a request holds up the reader, so that no pong is read.
	busy atomic.Bool

	mu      sync.Mutex // guards all below
	space   sync.Cond  // replies was emptied, or closing set
	replies []broker.Frame
	pong    []byte // payload of the pong that is due; of several pings the last (RFC 6455, section 5.5.3)
	echo    []byte // the library's close frame
	garbled bool   // echo has a reason that is no text
	pongDue bool
	pingDue bool
	serving bool      // the stream is open: what the client sends is for a reader
	closing bool      // requests are not answered any more
	reading bool      // a reader's goroutine is there
	ready   sync.Cond // reading was cleared
}

func newWSConn() *wsConn {
	w := &wsConn{}
	w.space.L, w.ready.L = &w.mu, &w.mu
	return w
}

// errNothing is what the library's read gets where it would have to wait for
// the first byte of a frame that begins a message. It has taken nothing of one
// by then, so it can be asked again.
var errNothing = errors.New("nothing to read")

// Read implements net.Conn for the library.
func (w *wsConn) Read(p []byte) (n int, err error) {
	switch {
	case len(w.early) > 0:
		n = copy(p, w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
		}
	case w.polite && w.between && w.track.whole():
		if n, err = tryRead(w.conn, p); errors.Is(err, errNothing) {
			return 0, err
		}
	default:
		n, err = w.conn.Read(p)
	}
	w.track.feed(p[:n])
	if err != nil {
		w.readErr = err
	}
	return n, err
}

// Write implements net.Conn for the library: one whole control frame, which the
// stream's goroutine sends.
func (w *wsConn) Write(p []byte) (int, error) {
	w.mu.Lock()
	switch p[0] & 0xf {
	case opPong:
		w.pong = append(w.pong[:0], p[2:]...)
		w.pongDue = true
	case opClose:
		w.echo = bytes.Clone(p)
		w.garbled = len(p) > 4 && !utf8.Valid(p[4:]) // the client's reason, which must be UTF-8 (RFC 6455, section 5.5.1)
	}
	w.mu.Unlock()
	w.st.notify(flagReply)
	return len(p), nil
}

// Close implements net.Conn for the library, which closes after a close frame
// or when a control frame comes too slowly. It ends the reader; the stream's
// goroutine closes the connection.
func (w *wsConn) Close() error {
	return w.conn.SetReadDeadline(time.Unix(1, 0))
}

// onPong is called by the library for each pong.
func (w *wsConn) onPong(context.Context, []byte) { w.unanswered.Store(0) }

// steady is how many bytes a client acknowledges between two heartbeats that
// reads, if slowly: more than heartbeats are.
const steady = 64 << 10

// silent reports whether a ping has been without an answer for longer than the
// write timeout, though the reader was not kept from it. A ping may wait behind
// megabytes in the kernel's buffers: a client that takes those in is not silent.
func (w *wsConn) silent(s *Server) bool {
	since := time.Duration(w.unanswered.Load())
	if since == 0 || w.busy.Load() || s.now()-since <= s.opts.WriteTimeout {
		return false
	}
	if acked := acknowledged(w.conn); acked-w.acked > steady {
		w.acked = acked
		return false
	}
	return true
}

// queuePing makes a ping due, unless the client owes the answer to one.
func (w *wsConn) queuePing(now time.Duration) {
	if w.unanswered.CompareAndSwap(0, int64(now)) {
		w.acked = acknowledged(w.conn)
		w.mu.Lock()
		w.pingDue = true
		w.mu.Unlock()
	}
}

func (w *wsConn) hasControl() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pongDue || w.pingDue
}

// takeControl appends the control frames that are due.
func (w *wsConn) takeControl(b []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pongDue {
		b = append(appendHeader(b, opPong, len(w.pong)), w.pong...)
	}
	if w.pingDue {
		b = appendHeader(b, opPing, 0)
	}
	w.pongDue, w.pingDue = false, false
	return b
}

// reply queues an answer. It waits while too many are queued, so that a client
// that asks faster than it reads is read no faster.
func (w *wsConn) reply(f broker.Frame) {
	w.mu.Lock()
	for len(w.replies) >= maxReplies && !w.closing {
		w.space.Wait()
	}
	if !w.closing {
		w.replies = append(w.replies, f)
	}
	w.mu.Unlock()
	w.st.notify(flagReply)
}

func (w *wsConn) takeReplies(dst []broker.Frame) []broker.Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	dst = append(dst, w.replies...)
	w.replies = nil // an idle stream keeps nothing
	w.space.Broadcast()
	return dst
}

// message reads the client's next message. It returns a reason when the client
// broke the rules, an error when the connection or the protocol is broken.
func (w *wsConn) message() (p []byte, fault Reason, err error) {
	// No context: one with a deadline costs a timer per read. The end of the
	// connection ends the read.
	w.between = true
	typ, r, err := w.lib.Reader(context.Background())
	w.between = false
	if err != nil {
		return nil, "", err
	}
	if typ != websocket.MessageText {
		w.unread = r
		return nil, ReasonProtocolError, nil
	}
	p, err = io.ReadAll(io.LimitReader(r, maxRequest+1))
	switch {
	case err != nil:
		return nil, "", err
	case len(p) > maxRequest:
		w.unread = r
		return nil, ReasonFrameTooLarge, nil
	}
	return p, "", nil
}

// serveFrom begins to serve the client's messages. polite says that the poller
// watches the connection.
func (w *wsConn) serveFrom(watched bool) {
	// Below TLS the poller sees records, not messages.
	w.polite = watched && !isTLS(w.conn)
	w.mu.Lock()
	w.serving = true
	w.mu.Unlock()
	w.startReading()
}

// startReading starts the reader unless there is one already, the stream is not
// open yet, or the conversation is over.
func (w *wsConn) startReading() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.serving || w.reading || w.closing {
		return false
	}
	w.reading = true
	go w.read()
	return true
}

// read serves the client's messages one after the other until there are no
// more, the client is gone, or the stream ends. Frames go on meanwhile.
func (w *wsConn) read() {
	again := w.readAll()
	w.mu.Lock()
	w.reading = false
	again = again && !w.closing
	w.ready.Broadcast()
	w.mu.Unlock()
	if again {
		w.st.srv.poll.again(w.st, pollRead)
	}
}

// readAll reports whether there may be more to read another time.
func (w *wsConn) readAll() bool {
	for {
		p, fault, err := w.message()
		switch {
		case errors.Is(err, errNothing):
			return true
		case err != nil:
			w.readFailed(err)
			return false
		case fault == "":
			w.unanswered.Store(0) // whoever asks is alive
			w.busy.Store(true)
			fault = w.st.guarded(func() ending { return ending{reason: w.st.serve(p)} }).reason
			w.busy.Store(false)
		}
		if fault != "" {
			w.st.fail(fault)
			return false
		}
	}
}

// readFailed tells a client that closed or vanished from one that broke RFC 6455.
func (w *wsConn) readFailed(err error) {
	w.mu.Lock()
	garbled := w.garbled
	w.mu.Unlock()
	if !garbled && (websocket.CloseStatus(err) != -1 || w.readErr != nil) {
		w.st.notify(flagGone)
		return
	}
	w.mu.Lock()
	w.echo = nil // the library's own close frame: ours comes after a bye
	w.mu.Unlock()
	w.st.fail(ReasonProtocolError)
}

// goodbye ends the conversation: the client's close frame is echoed, or the
// bye and a close frame are sent and the client gets a moment to answer, because
// closing with unread data would reset the connection and could cost it the bye.
// Answers that are due come before either, since what was asked for was done; but
// not before ready, which is the first frame of all.
func (w *wsConn) goodbye(out output, reason Reason, bye broker.Frame, patience time.Duration) {
	w.mu.Lock()
	echo := w.echo
	var b []byte
	if w.st.written > 0 && reason != ReasonSlowReader && (reason != ReasonClientGone || echo != nil) {
		for _, f := range w.replies {
			b = appendText(b, f.JSON())
		}
	}
	w.mu.Unlock()
	if reason == ReasonClientGone {
		if echo != nil {
			out.last(append(b, echo...), patience)
		}
		return
	}
	rule := RuleOf(reason)
	b = appendText(b, bye.JSON())
	b = appendHeader(b, opClose, 2+len(rule.Reason))
	b = append(b, byte(rule.Code>>8), byte(rule.Code))
	out.last(append(b, rule.Reason...), patience)
	w.linger(patience)
}

func appendText(b, text []byte) []byte {
	return append(appendHeader(b, opText, len(text)), text...)
}

// linger waits until the client has closed, and reads what it sends meanwhile. A
// request that is still under way goes on no longer: after the bye nobody can be
// told what came of it, and the reader would wait for it.
func (w *wsConn) linger(patience time.Duration) {
	w.st.cancelOperation()
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	w.wait()
	w.polite = false
	if w.readErr != nil && !isTimeout(w.readErr) {
		return
	}
	w.readErr = nil
	var err error
	for r := w.unread; err == nil; _, r, err = w.lib.Reader(context.Background()) {
		if r != nil {
			_, _ = io.Copy(io.Discard, r)
		}
	}
	if websocket.CloseStatus(err) == -1 && w.readErr == nil {
		discard(w.conn) // the library cannot follow what the client sends
	}
}

// wait returns when the reader is gone, and keeps another from coming. Before,
// the read it may wait in has to be bounded.
func (w *wsConn) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing = true
	w.space.Broadcast()
	for w.reading {
		w.ready.Wait()
	}
}

var _ net.Conn = (*wsConn)(nil)

func isTLS(conn net.Conn) bool {
	_, ok := conn.(*tls.Conn)
	return ok
}
