package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stalledHTTP2 is a gateway with a client that opened a stream over HTTP/2, takes nothing, and goes on sending.
func stalledHTTP2(t *testing.T, args ...string) *running {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	roots := writeCertificate(t, cert, key, 1)
	g := startGateway(t, append([]string{"--tls-cert", cert, "--tls-key", key, "--request-burst-per-caller", "1000"}, args...)...)
	g.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots} //nolint:forcetypeassert // startGateway made it
	g.declare("orders")

	tcp, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	if err := tcp.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(tcp, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
	// The preface, windows that are as large as they can be, and one request (RFC 9113; RFC 7541, section 6).
	const path = "/v1/sse?exchange=orders"
	authority := strings.TrimPrefix(g.url, "https://")
	headers := "\x82\x87" + "\x04" + string(rune(len(path))) + path + "\x01" + string(rune(len(authority))) + authority
	const preface, settings, update = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x04\x7f\xff\xff\xff", "\x00\x00\x04\x08\x00\x00\x00\x00\x00" + "\x7f\xff\x00\x00"
	_, err = io.WriteString(conn, preface+settings+update+
		"\x00\x00"+string(rune(len(headers)))+"\x01\x05\x00\x00\x00\x01"+headers)
	if err != nil {
		t.Fatal(err)
	}
	g.eventually(`warren_frames_sent_total{transport="sse"}`, 1)

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C: // a ping; the connection may be closed by now
				_, _ = io.WriteString(conn, "\x00\x00\x08\x06\x00\x00\x00\x00\x00"+"12345678")
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	for range 100 { // more than the sockets hold
		body := fmt.Sprintf(`{"routing_key":"n","payload":"%s"}`, strings.Repeat("x", 60_000))
		if status, answer := g.call("POST", g.url+"/v1/exchanges/orders/publish", body); status != 200 {
			t.Fatalf("publishing: %d %s", status, answer)
		}
	}
	return g
}

func TestStopIsSwiftWhileAnHTTP2ClientTakesNothing(t *testing.T) {
	g := stalledHTTP2(t, "--drain", "100ms", "--write-timeout", "1h")
	if err := g.stop(); err != nil {
		t.Error(err)
	}
}

func TestHTTP2ClientThatTakesNothingAndGoesOnSendingLosesItsStreams(t *testing.T) {
	g := stalledHTTP2(t, "--write-timeout", "200ms")
	g.eventually(`warren_stream_closes_total{code="4408",reason="slow_reader"}`, 1)
}
