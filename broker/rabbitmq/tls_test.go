package rabbitmq

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// certificates writes the certificate of an authority, one of rabbit.example that it signed, and the key of that, and answers
// their paths. RabbitMQ takes no client's certificate that signed itself.
func certificates(t *testing.T) (authority, cert, key string) {
	t.Helper()
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"rabbit.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	authority, cert, key = filepath.Join(dir, "authority.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]pem.Block{
		authority: {Type: "CERTIFICATE", Bytes: signed(t, root, root, keys[0], keys[0])},
		cert:      {Type: "CERTIFICATE", Bytes: signed(t, leaf, root, keys[1], keys[0])},
		key:       {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return authority, cert, key
}

func signed(t *testing.T, certificate, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, certificate, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestTLS(t *testing.T) {
	port, err := rabbittest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	authority, cert, key := certificates(t)
	node, err := rabbittest.Start(contextOf(t), rabbittest.Options{Config: fmt.Sprintf(
		"listeners.ssl.1 = 127.0.0.1:%d\nssl_options.cacertfile = %s\nssl_options.certfile = %s\nssl_options.keyfile = %s\n"+
			"ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
		port, authority, cert, key)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	address := fmt.Sprintf("amqps://guest:guest@127.0.0.1:%d/?server_name_indication=rabbit.example", port)
	mine := "&certfile=" + cert + "&keyfile=" + key
	roots := func(o *Options) { o.TLS = &tls.Config{RootCAs: rootsOf(t, authority), MinVersion: tls.VersionTLS12} }

	named := open(t, newSource(t, address+mine+"&cacertfile="+authority), binding(t, "amq.topic", "#"))
	mixed := open(t, newSource(t, address+mine, roots), binding(t, "amq.topic", "#")) // the URL has what the options lack
	newPublisher(t, node.URL()).text("amq.topic", "k", "secret")
	wantBody(t, named, "secret")
	wantBody(t, mixed, "secret")

	for what, s := range map[string]*Source{
		"nobody vouches for the broker's certificate": newSource(t, address+mine),
		"the broker wants a certificate":              newSource(t, address, roots),
	} {
		_, err = s.Open(t.Context(), broker.QueueSpec{Stream: "s"})
		if broker.CodeOf(err) != broker.CodeBrokerUnavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// rootsOf has the certificate in a file as the only root.
func rootsOf(t *testing.T, path string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots
}
