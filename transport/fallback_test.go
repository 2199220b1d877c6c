package transport_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// opaqueListener hides what its connections are, as a wrapping listener does:
// there is no descriptor to poll or to try a write on.
type opaqueListener struct{ net.Listener }

type opaqueConn struct{ net.Conn }

func (l opaqueListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // net/http looks at it
	}
	return opaqueConn{conn}, nil
}

func TestConnectionsOfUnknownKindWorkToo(t *testing.T) {
	g := newGateway(t, setup{opaque: true, transport: transport.Options{WriteTimeout: 2 * time.Second}})
	_, r := g.get("/sse")
	r.skip()
	s := g.socket("/ws")
	s.next("ready")
	g.publishNumbers(500)
	for range 500 {
		r.event()
		s.next("message")
	}
	s.ask(`{"type":"ping","ref":"a"}`)
	s.next("pong")
	_ = r.conn.Close()
	if end := g.ended(1); end.Transport != broker.SSE || end.Reason != transport.ReasonClientGone {
		t.Errorf("ended with %+v", end)
	}
	_ = s.conn.Close()
	if end := g.ended(2); end.Transport != broker.WS || end.Reason != transport.ReasonClientGone {
		t.Errorf("ended with %+v", end)
	}
}

func TestWebSocketOverTLS(t *testing.T) {
	g := newGateway(t, setup{tls: true})
	s := g.socket("/ws", frame(0x81, `{"type":"ping","ref":"early"}`))
	s.next("ready")
	s.next("pong")
	g.publishNumbers(300)
	for range 300 {
		s.next("message")
	}
	for range 10 { // several messages in one record, and pings between
		s.write(append(append(frame(0x81, `{"type":"ping"}`), frame(0x89, "x")...), frame(0x81, `{"type":"ping"}`)...))
		s.next("pong")
		s.next("pong")
	}
	g.sub.End(broker.EndDeleted)
	s.bye(4410, "subscription_deleted")
}

// plainWriter is a ResponseWriter that cannot be taken over.
type plainWriter struct{ w http.ResponseWriter }

func (p plainWriter) Header() http.Header         { return p.w.Header() }
func (p plainWriter) Write(b []byte) (int, error) { return p.w.Write(b) } //nolint:wrapcheck // it is the writer
func (p plainWriter) WriteHeader(status int)      { p.w.WriteHeader(status) }
func (p plainWriter) Flush()                      { p.w.(http.Flusher).Flush() } //nolint:forcetypeassert // net/http's

func TestSSEWithoutTakingOverTheConnection(t *testing.T) {
	g := newGateway(t, setup{wrap: func(w http.ResponseWriter) http.ResponseWriter { return plainWriter{w} }})
	resp := do(t, g, "/sse")
	g.publish("1")
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "id: "+g.sub.Stream()+".1") {
			break
		}
	}
	g.sub.End(broker.EndDeleted)
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), `"code":4410`) {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestHTTP2ReaderThatStallsIsEndedAlone(t *testing.T) {
	t.Parallel() // it mostly waits
	g := newGateway(t, setup{
		http2:     true,
		transport: transport.Options{WriteTimeout: 2 * time.Second},
		limits:    func(l *broker.Limits) { l.LogBytes = 64 << 20 },
	})
	_ = do(t, g, "/sse") // its flow control window fills
	g.attached(1)
	other := do(t, g, "/sse") // on the same connection
	g.attached(2)
	const n = 100
	go func() {
		for range n {
			g.publish(strings.Repeat("x", 100<<10))
		}
	}()
	lines := bufio.NewScanner(other.Body)
	lines.Buffer(nil, 1<<20)
	for seen := 0; seen < n && lines.Scan(); {
		if strings.Contains(lines.Text(), `"type":"message"`) {
			seen++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if end := g.ended(1); end.Reason != transport.ReasonSlowReader {
		t.Errorf("ended with %+v", end)
	}
}

// TestHTTP2ReaderThatIsSlowAndSteadyStays has a client take longer for a frame than the write timeout, and never stop.
func TestHTTP2ReaderThatIsSlowAndSteadyStays(t *testing.T) {
	t.Parallel() // it mostly waits
	const timeout = 2 * time.Second
	g := newGateway(t, setup{http2: true, transport: transport.Options{WriteTimeout: timeout}})
	client := g.http.Client()
	client.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10} //nolint:forcetypeassert // httptest's
	resp := do(t, g, "/sse")
	g.attached(1)
	const size = 56 * 16 << 10
	g.publish(strings.Repeat("x", size))
	for left, begun := size, time.Now(); left > 0; {
		n, err := io.CopyN(io.Discard, resp.Body, 16<<10)
		if err != nil {
			t.Fatalf("after %v, with %d bytes left: %v", time.Since(begun), left, err)
		}
		left -= int(n)
		<-time.After(timeout / 20)
	}
}

// TestHTTP2ReaderThatGoesOnTooLateWasSlow has a client whose connection takes nothing until the deadline of its stream has passed.
func TestHTTP2ReaderThatGoesOnTooLateWasSlow(t *testing.T) {
	const timeout = 250 * time.Millisecond
	g := newGateway(t, setup{
		http2:     true,
		transport: transport.Options{WriteTimeout: timeout},
		limits:    func(l *broker.Limits) { l.LogBytes = 64 << 20 },
	})
	tcp, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	setReadBuffer := func(n int) {
		if err := tcp.(*net.TCPConn).SetReadBuffer(n); err != nil { //nolint:forcetypeassert // of this network
			t.Fatal(err)
		}
	}
	setReadBuffer(64 << 10)
	conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	// The preface, windows that are as large as they can be, and one request (RFC 9113; RFC 7541, section 6).
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00"+"\x00\x04\x7f\xff\xff\xff"+
		"\x00\x00\x04\x08\x00\x00\x00\x00\x00"+"\x7f\xff\x00\x00"+
		"\x00\x00\x0b\x01\x05\x00\x00\x00\x01"+"\x82\x87\x04\x04/sse\x01\x01x")
	if err != nil {
		t.Fatal(err)
	}
	g.attached(1)
	for range 100 { // more than the sockets hold
		g.publish(strings.Repeat("x", 100<<10))
	}
	<-time.After(4 * timeout)
	setReadBuffer(8 << 20)
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	if end := g.ended(1); end.Reason != transport.ReasonSlowReader {
		t.Errorf("ended with %+v", end)
	}
}

func TestManyStalledReadersDelayNobody(t *testing.T) {
	g := newGateway(t, setup{
		transport: transport.Options{WriteTimeout: time.Hour},
		limits:    func(l *broker.Limits) { l.LogBytes = 64 << 20 },
	})
	const stalled = 40 // more than there are workers
	for range stalled {
		_, _ = g.get("/sse")
	}
	g.attached(stalled)
	const n = 150
	go func() {
		for range n { // more than any socket buffer takes
			g.publish(strings.Repeat("x", 100<<10))
		}
	}()
	_, r := g.get("/sse")
	r.skip()
	for range n {
		r.event()
	}
}
