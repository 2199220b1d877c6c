package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// errSlow says that the client took nothing for the write timeout.
var errSlow = errors.New("the client takes no bytes")

// output is where a stream's bytes go. All but abort is for the stream's goroutine.
type output interface {
	// write writes all of b.rest, and may wait for the client. errSlow says that the client took nothing for
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
	// tcp is conn if that is a plain TCP connection: only there a write can be
	// tried without waiting, and one that timed out can go on where it stopped.
	tcp tcpConn
	srv *Server
}

// tcpConn is a *net.TCPConn, or what embeds one: the listener that counts
// connections hands out such. A *tls.Conn has no descriptor to offer.
type tcpConn interface {
	net.Conn
	syscall.Conn
	SetNoDelay(on bool) error
}

func newSocket(conn net.Conn, s *Server) *socket {
	// The kernel gives up on a peer that acknowledges nothing later
	// than we give up on a client that takes nothing, so that our reason counts.
	setUserTimeout(conn, s.opts.WriteTimeout*3/2+time.Second)
	c := &socket{conn: conn, srv: s}
	c.tcp, _ = conn.(tcpConn)
	return c
}

// rawConn returns the file descriptor's owner below conn, nil if there is none.
func rawConn(conn net.Conn) syscall.RawConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// write implements output; another worker takes the place of the one that calls
// it.
func (c *socket) write(b *batch) (whole bool, err error) {
	c.srv.workers.block(b)
	defer c.srv.workers.unblock()
	guard := guardStall(c.conn, c.srv.opts.WriteTimeout)
	n, err := c.writev(b)
	fired := guard.stop()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		// A bye may follow only a whole frame, and nothing on a TLS connection
		// whose write was cut.
		return n == 0 && c.tcp != nil, errSlow
	case fired && err == nil: // the client took it just then: the next write that waits has all its time
		_ = c.conn.SetWriteDeadline(time.Time{})
	}
	return err == nil, err
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
		b.advance(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (c *socket) idle() {}

func (c *socket) last(p []byte, patience time.Duration) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.conn.Write(p)
}

// close closes the connection. What the client has sent and nobody read would
// make that a reset, which could cost the client what it has not read yet.
func (c *socket) close() {
	discardWaiting(c.conn)
	_ = c.conn.Close()
}

// abort closes below TLS: closing a TLS connection writes an alert first, and
// waits up to 5 s for a stalled client to take it.
func (c *socket) abort() {
	if t, ok := c.conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.conn.Close()
}
