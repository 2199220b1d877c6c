package api_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-gateway/warren/api"
)

// limited serves answers of 204 behind the limits, until the test ends.
func limited(t *testing.T, limits api.ConnectionLimits) string {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := api.NewServer(handler, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(api.LimitConnections(listener, limits))
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return listener.Addr().String()
}

// reply is an answer on a connection that stays open.
type reply struct {
	net.Conn

	status int
	header http.Header
	body   []byte
}

// ask sends a request on a connection of its own.
func ask(t *testing.T, addr string) reply {
	t.Helper()
	return askFor(t, addr, "GET /")
}

// askFor is ask for who does not ask for the page.
func askFor(t *testing.T, addr, what string) reply {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(deadline))
	_, _ = io.WriteString(conn, what+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{conn, resp.StatusCode, resp.Header, body}
}

func TestConnectionTooManyIsToldSo(t *testing.T) {
	for name, limits := range map[string]api.ConnectionLimits{
		"in all": {Total: 2, Plain: true}, "of an address": {PerAddress: 2, Plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			addr := limited(t, limits)
			first, second, third := ask(t, addr), ask(t, addr), ask(t, addr)
			if first.status != http.StatusNoContent || second.status != http.StatusNoContent {
				t.Fatalf("status %d, %d", first.status, second.status)
			}
			var p problem
			if err := json.Unmarshal(third.body, &p); err != nil {
				t.Fatal(err)
			}
			if third.status != 503 || p.Code != "over_capacity" || third.header.Get("Retry-After") == "" {
				t.Errorf("the third: %d %+v", third.status, p)
			}
			_ = first.Close()
			for timeout := time.Now().Add(deadline); ask(t, addr).status != http.StatusNoContent; {
				if time.Now().After(timeout) {
					t.Fatal("a closed connection goes on counting")
				}
			}
		})
	}
}

func TestProxiesAreNotBoundPerAddress(t *testing.T) {
	addr := limited(t, api.ConnectionLimits{PerAddress: 1, Plain: true, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for range 3 {
		if got := ask(t, addr); got.status != http.StatusNoContent {
			t.Errorf("status %d", got.status)
		}
	}
}

func TestProxiesOfIPv6AreNotBoundPerAddressEither(t *testing.T) {
	listener := fromAddress{make(chan net.Conn, 4)}
	limited := api.LimitConnections(listener, api.ConnectionLimits{PerAddress: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("2001:db8::7/128")}})
	accepts := func(ip string) bool {
		conn, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }() // until conn is closed
		listener.conns <- farConn{conn, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))}
		listener.conns <- nil
		got, err := limited.Accept()
		if err != nil {
			return false
		}
		t.Cleanup(func() { _ = got.Close() })
		_, _ = limited.Accept() // the nil
		return true
	}
	for _, c := range []struct {
		ip   string
		want bool
	}{{"2001:db8::7", true}, {"2001:db8::7", true}, {"2001:db8::8", false}, {"2001:db8:0:1::8", true}, {"2001:db8:0:1::9", false}} {
		if got := accepts(c.ip); got != c.want {
			t.Errorf("%s: accepted %v", c.ip, got)
		}
	}
}

// fromAddress hands out what is put into it; nil ends it for once.
type fromAddress struct{ conns chan net.Conn }

func (l fromAddress) Accept() (net.Conn, error) {
	if conn := <-l.conns; conn != nil {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (l fromAddress) Close() error   { return nil }
func (l fromAddress) Addr() net.Addr { return &net.TCPAddr{} }

// farConn is a connection from an address that this machine does not have.
type farConn struct {
	net.Conn

	peer net.Addr
}

func (c farConn) RemoteAddr() net.Addr { return c.peer }

func TestSlowHeadersLoseTheConnection(t *testing.T) {
	server := api.NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if server.ReadHeaderTimeout <= 0 || server.ReadTimeout <= 0 || server.IdleTimeout <= 2*time.Minute || // more than what proxies have
		server.MaxHeaderBytes > 64<<10 {
		t.Errorf("bounds %v %v %v %d", server.ReadHeaderTimeout, server.ReadTimeout, server.IdleTimeout, server.MaxHeaderBytes)
	}
	server.ReadHeaderTimeout = 20 * time.Millisecond // the mechanism, in a test's time
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: ")
	_ = conn.SetReadDeadline(time.Now().Add(deadline))
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("still open: %v", err)
	}
}

func TestEventStreamsWorkOverHTTP2(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	server := httptest.NewUnstartedServer(g.api)
	server.EnableHTTP2 = true
	server.Config = api.NewServer(g.api, slog.New(slog.DiscardHandler))
	server.StartTLS()
	t.Cleanup(server.Close)
	client := server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS12
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/sse?exchange=orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = g.addr
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %d", resp.Proto, resp.StatusCode)
	}
	r.URL.Path = "/v1/ws" // Upgrade is no header of HTTP/2: with it the answer would be a protocol error
	if refused, err := client.Do(r); err != nil || refused.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a WebSocket over HTTP/2 gets %v, %v", refused, err)
	}
	s := &eventStream{t: t, resp: resp, lines: bufio.NewScanner(resp.Body)}
	s.expect("ready")
	g.publish("1")
	s.expect("message")
	g.streams.Close()
}

// TestHTTP2ClientThatIsGoneWithoutAWordLosesItsStreams has one that answers no ping, as behind a network that was cut.
func TestHTTP2ClientThatIsGoneWithoutAWordLosesItsStreams(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	server := httptest.NewUnstartedServer(g.api)
	server.EnableHTTP2 = true
	server.Config = api.NewServer(g.api, slog.New(slog.DiscardHandler))
	if h2 := server.Config.HTTP2; h2 == nil || h2.SendPingTimeout <= 0 || h2.PingTimeout <= 0 {
		t.Fatalf("HTTP/2 pings: %+v", h2)
	}
	server.Config.HTTP2.SendPingTimeout = time.Second // the mechanism, in a test's time
	server.Config.HTTP2.PingTimeout = time.Second
	server.StartTLS()
	t.Cleanup(server.Close)
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	conn, err := d.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	// The preface, empty settings, and the headers of one request (RFC 9113, sections 3.4 and 4.1; RFC 7541, section 6).
	const path = "/v1/sse?exchange=orders&share=false"
	headers := "\x82\x87" + "\x04" + string(rune(len(path))) + path + "\x01" + string(rune(len(g.addr))) + g.addr
	const endOfStreamAndHeaders = "\x05"
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
		"\x00\x00"+string(rune(len(headers)))+"\x01"+endOfStreamAndHeaders+"\x00\x00\x00\x01"+headers)
	if err != nil {
		t.Fatal(err)
	}
	g.eventually("the stream is open", func() bool { return g.gate.Counts().Streams == 1 })
	g.eventually("it is not counted any more", func() bool { return g.gate.Counts().Streams == 0 })
}
