package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// TestNoTokenAndNoSubscriptionIDIsLogged makes requests that succeed and fail with
// tokens in each place, with the log at its most talkative.
func TestNoTokenAndNoSubscriptionIDIsLogged(t *testing.T) {
	key := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	good := mint(t, key, "builds=#")
	poor := mint(t, key, "deploys=#")
	bad := good[:len(good)-4] + "AAAA"
	g := warrentest.Start(t, "--demo", "--log-level", "debug", "--jwt-key", key, "--jwt-hs256")

	body := `{"bindings":[{"exchange":"builds","routing_key":"#"}]}`
	_, answer := authorized(t, "POST", g.URL+"/v1/subscriptions", body, good)
	id := between(answer, `"id":"`, `"`)
	if id == "" {
		t.Fatalf("no subscription was made: %s", answer)
	}
	for _, token := range []string{good, poor, bad} {
		for _, path := range []string{"/v1/subscriptions/" + id, "/v1/subscriptions/" + id + "/nothing", "/v1/exchanges"} {
			authorized(t, "GET", g.URL+path, "", token)
		}
		authorized(t, "POST", g.URL+"/v1/subscriptions/"+id+"/bindings", body, token)
		for _, path := range []string{"/v1/subscriptions/" + id + "/sse?", "/v1/sse?exchange=builds&", "/v1/sse?exchange=absent&"} {
			firstBytes(t, g.URL+path+"access_token="+token)
		}
	}
	authorized(t, "DELETE", g.URL+"/v1/subscriptions/"+id, "", good)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	logs := g.Logs()
	if !strings.Contains(logs, "request refused") || !strings.Contains(logs, "stream ended") {
		t.Errorf("the log says nothing of what happened:\n%s", logs)
	}
	for what, secret := range map[string]string{
		"a good token": good, "a poor token": poor, "a bad token": bad, "a token's signature": good[strings.LastIndexByte(good, '.')+1:],
		"a subscription id": id, "a query": "access_token",
	} {
		if strings.Contains(logs, secret) {
			t.Errorf("the log has %s in it:\n%s", what, logs)
		}
	}
}

// mint signs a token with the shared secret.
func mint(t *testing.T, key, grant string) string {
	t.Helper()
	var out bytes.Buffer
	args := []string{"token", "--hs256", "--key", key, "--sub", "alice", "--bind", grant}
	if err := run(t.Context(), process{args: args, stdout: &out, stderr: &out}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// authorized makes a request with a token in its header.
func authorized(t *testing.T, method, url, body, token string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp := roundTrip(t, req, nil)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// firstBytes opens a stream, or is refused, reads a little and leaves.
func firstBytes(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := roundTrip(t, req, nil)
	defer func() { _ = resp.Body.Close() }()
	if _, err := resp.Body.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
}

// roundTrip makes a request on a connection of its own.
func roundTrip(t *testing.T, req *http.Request, config *tls.Config) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func between(text, begin, end string) string {
	_, rest, _ := strings.Cut(text, begin)
	found, _, ok := strings.Cut(rest, end)
	if !ok {
		return ""
	}
	return found
}

func TestTLSIsModernAndReadsRenewedCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writeCertificate(t, cert, key, 1)
	g := startGateway(t, "--tls-cert", cert, "--tls-key", key)
	address := strings.TrimPrefix(g.url, "https://")

	// The files change before the first handshake, which then looks at them.
	second := writeCertificate(t, cert, key, 2)
	serial := func(roots *x509.CertPool, newest uint16) (int64, error) {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: newest}}
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.Close() }()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	if n, err := serial(second, 0); n != 2 || err != nil {
		t.Errorf("after the renewal the certificate is number %d: %v", n, err)
	}
	if _, err := serial(first, 0); err == nil {
		t.Error("the old certificate is still served")
	}
	if n, err := serial(second, tls.VersionTLS12); n != 2 || err != nil {
		t.Errorf("TLS 1.2 is refused: %v", err)
	}
	if _, err := serial(second, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is accepted")
	}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := roundTrip(t, req, &tls.Config{RootCAs: second, MinVersion: tls.VersionTLS12})
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("HTTPS answers %s over %s", resp.Status, resp.Proto)
	}
}

// writeCertificate writes a new self-signed certificate for loopback, and returns who trusts it.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "warren"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{
		certFile: certPEM,
		keyFile:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return roots
}
