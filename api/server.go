package api

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of the HTTP server. A client gets little time to say what it wants;
// how long answers and streams may take is theirs to bound.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	// Who closes an idle connection should be the client's side, which knows whether it is about to ask something: a
	// POST that crosses with our closing is lost, and a proxy answers 502. AWS and nginx close theirs after 60 s, Traefik
	// after 90 s, Caddy after 120 s.
	idleTimeout    = 150 * time.Second
	maxHeaderBytes = 32 << 10
	// An HTTP/2 connection on which nothing came for so long is asked whether anybody is there. Its answer may be behind
	// megabytes in the buffers of a slow client's kernel.
	http2PingAfter   = 30 * time.Second
	http2PingTimeout = 60 * time.Second
)

// NewServer returns an HTTP server for the handler with hardened bounds: 5 s for
// the header, 15 s with the body, 150 s between requests, 32 KiB of header; over
// HTTP/2, whose clients may be gone without a word, a ping. There
// is no write timeout, since streams write for days: every answer sets its own.
// The logger gets what net/http complains of, at debug level, because clients cause it.
func NewServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: http2PingAfter, PingTimeout: http2PingTimeout},
		// net/http's own answer to OPTIONS * would have no bound of time.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// ConnectionLimits bound open connections. Zero is no bound.
type ConnectionLimits struct {
	// Total is for the process. It should exceed the streams there may be. Where
	// the system lets a process have fewer files open, it is less.
	Total int
	// PerAddress is for one client address (IPv6: its /64).
	PerAddress int
	// Exempt are networks without a bound per address: proxies, whose
	// connections are many clients'.
	Exempt []netip.Prefix
	// Plain says that the listener speaks HTTP without TLS, so that a refusal
	// can be told. Otherwise the connection is closed without a word.
	Plain bool
	// OnRefusal, if set, is called for each connection that is refused; it must
	// not block.
	OnRefusal func()
}

// LimitConnections returns a listener that refuses connections beyond the
// limits with 503, rather than letting them wait unseen. Connections count until
// they are closed, also those that were taken over by streams. Their concrete
// type embeds *net.TCPConn where the listener's own do.
func LimitConnections(listener net.Listener, limits ConnectionLimits) net.Listener {
	limits.Total = connectionsWithin(limits.Total, openFiles())
	return &limitedListener{Listener: listener, limits: limits, byAddress: map[netip.Addr]int{}}
}

// otherFiles are left for what is no client's connection: the broker's, files of
// certificates, profiles.
const otherFiles = 256

// connectionsWithin is how many connections there may be of those wanted (0: any
// number) when so many files can be open (0: not known). At the system's own
// limit nobody would get an answer, and a lost broker could not be reached again.
func connectionsWithin(want, files int) int {
	if files <= 0 {
		return want
	}
	most := max(files-otherFiles, files/2, 1)
	if want <= 0 {
		return most
	}
	return min(want, most)
}

type limitedListener struct {
	net.Listener

	limits ConnectionLimits

	mu        sync.Mutex // guards all below
	total     int
	byAddress map[netip.Addr]int
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := peerOf(conn)
		address := addressOf(peer)
		if l.enter(address, l.exempt(peer)) {
			release := sync.OnceFunc(func() { l.leave(address) })
			if tcp, ok := conn.(*net.TCPConn); ok {
				return &countedTCP{TCPConn: tcp, release: release}, nil
			}
			return &countedConn{Conn: conn, release: release}, nil
		}
		l.refuse(conn)
	}
}

// peerOf is the peer's address, zero if it has none.
func peerOf(conn net.Conn) netip.Addr {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// addressOf is the address as callers are told apart: an IPv6 network of 64 bits is one.
func addressOf(peer netip.Addr) netip.Addr {
	if !peer.Is6() {
		return peer
	}
	network, err := peer.Prefix(64)
	if err != nil {
		return peer
	}
	return network.Addr()
}

// enter counts a connection unless there are too many; exempt says that its
// address may have as many as there may be at all.
func (l *limitedListener) enter(address netip.Addr, exempt bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.Total > 0 && l.total >= l.limits.Total {
		return false
	}
	if l.limits.PerAddress > 0 && l.byAddress[address] >= l.limits.PerAddress && !exempt {
		return false
	}
	l.total++
	l.byAddress[address]++
	return true
}

func (l *limitedListener) exempt(peer netip.Addr) bool {
	for _, network := range l.limits.Exempt {
		if network.Contains(peer) {
			return true
		}
	}
	return false
}

func (l *limitedListener) leave(address netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.byAddress[address]--; l.byAddress[address] <= 0 {
		delete(l.byAddress, address)
	}
}

// tooManyConnections is the whole answer on a connection too many: code and
// document of over_capacity, without reading what was asked.
const tooManyConnections = "HTTP/1.1 503 Service Unavailable\r\n" +
	"Content-Type: application/problem+json\r\nRetry-After: 5\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n" +
	`{"type":"urn:warren:problem:over_capacity","title":"The gateway takes no more work now","status":503,` +
	`"detail":"there are too many open connections","code":"over_capacity","retry_after_seconds":5}`

// refuse says why and closes. The text fits any socket's send buffer, so that it
// blocks nobody; the deadline is for what no test has seen.
func (l *limitedListener) refuse(conn net.Conn) {
	if l.limits.OnRefusal != nil {
		l.limits.OnRefusal()
	}
	if l.limits.Plain {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte(tooManyConnections)) // best effort
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}
	_ = conn.Close()
}

// countedTCP gives its place back when it is closed.
type countedTCP struct {
	*net.TCPConn

	release func()
}

// Close implements net.Conn.
func (c *countedTCP) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type countedConn struct {
	net.Conn

	release func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
