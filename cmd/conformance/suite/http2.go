package suite

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

func init() {
	register(
		Check{Name: "speak HTTP/2 over TLS", Of: []string{"P-170"}, Needs: Gateway | Direct, Run: http2Own},
		Check{Name: "speak HTTP/2", Of: []string{"P-170"}, Needs: TLS, Run: http2Streams},
	)
}

func http2Own(t *T) {
	cert, key := t.certificate()
	g, _ := t.GatewayOn("memory://", nil, "--tls-cert", cert, "--tls-key", key)
	g.source = restSource{}
	http2Streams(g)
}

// http2Streams opens streams and makes requests on one connection.
func http2Streams(t *T) {
	var dialled atomic.Int32
	transport := newTransport()
	defer transport.CloseIdleConnections()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	// One request first, so that those that follow find the connection.
	resp, err := t.client(transport).Do(t.request(Call{Method: http.MethodGet, Path: s.Path}))
	t.Must(err)
	rest := t.read(resp)
	streams := make([]*Stream, 0, 20)
	for range cap(streams) {
		stream := t.sseOn(transport, s.Path+"/sse", nil)
		stream.Ready()
		streams = append(streams, stream)
	}
	t.Publish(x, "a", "m1")
	same := true
	for _, stream := range streams {
		same = stream.Expect("message").Body() == "m1" && same
	}
	t.Is("P-170", resp.Proto == "HTTP/2.0" && same && dialled.Load() == 1 && rest.Status == http.StatusOK, "%s, %d streams and REST on %d connection", resp.Proto, len(streams), dialled.Load())
	t.Do(Call{Method: http.MethodDelete, Path: s.Path})
	end := streams[0].Expect("bye")
	t.Is("P-170", end.Type() == "bye" && streams[0].End().Error() == "EOF", "%s, %d streams and REST on %d connection, %s and a clean end", resp.Proto, len(streams), dialled.Load(), end)
	// A WebSocket is HTTP/1.1 there, too.
	ws := t.Create(on()).WS()
	t.Is("P-170", ws.Next().Type() == "ready", "%s, %d streams and REST on %d connection; a WebSocket beside them", resp.Proto, len(streams), dialled.Load())
}

// certificate makes a certificate for 127.0.0.1 that signs itself.
func (t *T) certificate() (certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t.Must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "conformance"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	t.Must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	t.Must(err)
	return t.pem("CERTIFICATE", der), t.pem("PRIVATE KEY", private)
}

// pem writes a PEM file that goes with the check.
func (t *T) pem(kind string, der []byte) string {
	dir, err := os.MkdirTemp("", "conformance")
	t.Must(err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := filepath.Join(dir, "file.pem")
	t.Must(os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return name
}
