package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// errSlow says that the client took nothing for the write timeout.
var errSlow = errors.New("the client takes no bytes")

// output is where a stream's bytes go. All but abort is for the stream's goroutine.
type output interface {
	// write writes all of b.rest. errSlow says that the client took nothing for
	// the write timeout; whole reports whether what it has got so far ends with
	// a whole frame, so that another may follow.
	write(b *batch) (whole bool, err error)
	// idle says that nothing is going to be written for a while.
	idle()
	// last writes the frame's bytes as the end of the stream, waiting at most
	// patience for the client to take them.
	last(p []byte, patience time.Duration)
	// close gives the connection back or up.
	close()
	// abort makes a write that is under way fail, and every later one.
	abort()
}

// socket is a hijacked connection, plain or TLS.
type socket struct {
	conn net.Conn
	// tcp is conn if that is a plain TCP connection: only there a write that
	// timed out may go on where it stopped, and writev works.
	tcp *net.TCPConn
	// timeout is the write timeout; deadline is the one that is set, on the
	// clock now. It is moved once per slack, because setting one costs as much
	// as a small write.
	timeout, slack, deadline time.Duration
	now                      func() time.Duration
}

func newSocket(conn net.Conn, s *Server) *socket {
	tcp, _ := conn.(*net.TCPConn)
	// The kernel gives up on a peer that acknowledges nothing a little later
	// than we give up on a client that takes nothing, so that our reason counts.
	setUserTimeout(conn, s.opts.WriteTimeout+2*time.Second)
	return &socket{
		conn: conn, tcp: tcp, now: s.now,
		timeout: s.opts.WriteTimeout, slack: min(time.Second, s.opts.WriteTimeout/8),
	}
}

func (c *socket) write(b *batch) (whole bool, err error) {
	if now := c.now(); now+c.timeout > c.deadline {
		c.extend(now)
	}
	written := 0
	for {
		n, err := c.writev(b)
		written += n
		switch {
		case err == nil:
			return true, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return false, err
		case n == 0 || c.tcp == nil: // a TLS connection is of no use after a timeout
			return written == 0 && c.tcp != nil, errSlow
		}
		c.extend(c.now()) // slow, but taking bytes
	}
}

// extend allows the client timeout from now on, and a slack in which the
// deadline need not be moved again.
func (c *socket) extend(now time.Duration) {
	c.deadline = now + c.timeout + c.slack
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.timeout + c.slack))
}

// writev writes b.rest and takes off what was written.
func (c *socket) writev(b *batch) (int, error) {
	if c.tcp != nil && len(b.rest) > 1 {
		n, err := b.rest.WriteTo(c.tcp)
		return int(n), err
	}
	written := 0
	for len(b.rest) > 0 {
		n, err := c.conn.Write(b.rest[0])
		written += n
		if err != nil {
			b.rest[0] = b.rest[0][n:]
			return written, err
		}
		b.rest = b.rest[1:]
	}
	return written, nil
}

func (c *socket) idle() {}

func (c *socket) last(p []byte, patience time.Duration) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.conn.Write(p)
}

func (c *socket) close() { _ = c.conn.Close() }

// abort closes below TLS: closing a TLS connection writes an alert first, and
// waits up to 5 s for a stalled client to take it.
func (c *socket) abort() {
	if t, ok := c.conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.conn.Close()
}
