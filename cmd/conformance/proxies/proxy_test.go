package proxies

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/conformance/suite"
)

// The tests of this package wait far more than they compute: all of them run at once, whatever the number of processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// startTimeout bounds the start and the end of a proxy.
const startTimeout = 30 * time.Second

// site is what an operator fills into a file of docs/deploy.
type site struct {
	dir       string // for what the proxy writes
	port      int    // where the proxy listens
	backend   string // the gateway, host:port
	cert, key string // PEM files
	both      string // a PEM file with both
}

// proxy is one kind of proxy.
type proxy struct {
	name    string
	program string
	debian  string // the package
	file    string // in docs/deploy
	// fill says which texts of the file are replaced; each must be there as often as it says.
	fill func(site) []replacement
	// hurry shortens the time that the file gives a gateway to answer, for what comes when it is over.
	hurry []replacement
	// frame makes the whole configuration of the filled file; nil if it is whole.
	frame func(s site, file string) string
	args  func(config string) []string
}

type replacement struct {
	old, new string
	times    int
}

var nginx = proxy{
	name: "nginx", program: "nginx", debian: "nginx-core", file: "nginx.conf",
	fill: func(s site) []replacement {
		return []replacement{
			{"listen 443 ssl http2;", fmt.Sprintf("listen 127.0.0.1:%d ssl http2;", s.port), 1},
			{"listen [::]:443 ssl http2;", "", 1}, // not every machine has IPv6
			{"server_name events.example.org;", "server_name 127.0.0.1;", 1},
			{"/etc/ssl/certs/events.example.org.pem", s.cert, 1},
			{"/etc/ssl/private/events.example.org.key", s.key, 1},
			{"server 127.0.0.1:8080;", "server " + s.backend + ";", 1},
		}
	},
	hurry: []replacement{{"proxy_read_timeout 60s;", "proxy_read_timeout 1s;", 1}},
	// What Debian's own nginx.conf has around the files of conf.d, with all that is written in one place.
	frame: func(s site, file string) string {
		name := "root"
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
		text := fmt.Sprintf("daemon off;\nuser %s;\nworker_processes 1;\npid %s/nginx.pid;\nerror_log stderr warn;\nevents { worker_connections 4096; }\n", name, s.dir)
		text += "http {\naccess_log off;\n"
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			text += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, s.dir, kind)
		}
		return text + file + "}\n"
	},
	args: func(config string) []string { return []string{"-e", "stderr", "-c", config} },
}

var haproxy = proxy{
	name: "haproxy", program: "haproxy", debian: "haproxy", file: "haproxy.cfg",
	fill: func(s site) []replacement {
		return []replacement{
			{"bind :443 ", fmt.Sprintf("bind 127.0.0.1:%d ", s.port), 1},
			{"/etc/haproxy/events.example.org.pem", s.both, 1},
			{"server warren 127.0.0.1:8080", "server warren " + s.backend, 2},
		}
	},
	hurry: []replacement{{"timeout server  60s", "timeout server  1s", 1}},
	args:  func(config string) []string { return []string{"-db", "-f", config} },
}

var both = []proxy{nginx, haproxy}

// path returns where the program is. Debian's are in a directory that is not in everybody's PATH.
func (p proxy) path(t *testing.T) string {
	t.Helper()
	if found, err := exec.LookPath(p.program); err == nil {
		return found
	}
	if found, err := exec.LookPath("/usr/sbin/" + p.program); err == nil {
		return found
	}
	t.Fatalf("%s is not installed: sudo apt-get install %s, or make deps", p.program, p.debian)
	return ""
}

// config writes the file of docs/deploy as this site has it, and returns its name.
func (p proxy) config(s site, more []replacement) (string, error) {
	raw, err := os.ReadFile(filepath.Join("../../../docs/deploy", p.file))
	if err != nil {
		return "", err
	}
	text := string(raw)
	for _, r := range append(p.fill(s), more...) {
		if n := strings.Count(text, r.old); n != r.times {
			return "", fmt.Errorf("docs/deploy/%s has %q %d times, not %d", p.file, r.old, n, r.times)
		}
		text = strings.ReplaceAll(text, r.old, r.new)
	}
	if p.frame != nil {
		text = p.frame(s, text)
	}
	name := filepath.Join(s.dir, p.file)
	return name, os.WriteFile(name, []byte(text), 0o600)
}

// newSite makes a certificate and chooses ports.
func newSite(dir string) (site, error) {
	dir, err := os.MkdirTemp(dir, "site")
	if err != nil {
		return site{}, err
	}
	s := site{dir: dir, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), both: filepath.Join(dir, "both.pem")}
	cert, key, err := certificate()
	if err != nil {
		return site{}, err
	}
	for name, content := range map[string][]byte{s.cert: cert, s.key: key, s.both: append(bytes.Clone(cert), key...)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return site{}, err
		}
	}
	// Of this package of ours there is nothing else that is needed; it has "make integration" run these tests with none beside them.
	if s.port, err = rabbittest.FreePort(); err != nil {
		return site{}, err
	}
	port, err := rabbittest.FreePort()
	s.backend = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return s, err
}

// url is where clients find the proxy.
func (s site) url() string { return fmt.Sprintf("https://127.0.0.1:%d", s.port) }

// gatewayArgs are what docs/deploy tells to start the gateway with.
func (s site) gatewayArgs() []string {
	return []string{"--listen", s.backend, "--public-url", s.url(), "--trusted-proxy", "127.0.0.1/32"}
}

// certificate makes a certificate for 127.0.0.1 that signs itself, and its key.
func certificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// front is how the suite puts a proxy of this kind before a gateway. What is written goes with the test.
func (p proxy) front(t *testing.T) suite.Front {
	t.Helper()
	program, dir := p.path(t), t.TempDir()
	return func(ctx context.Context, start func(args ...string) error) (string, func(), error) {
		s, err := newSite(dir)
		if err != nil {
			return "", nil, err
		}
		if err := start(s.gatewayArgs()...); err != nil {
			return "", nil, err
		}
		stop, err := p.start(ctx, program, s, nil)
		return s.url(), stop, err
	}
}

// start starts the proxy, waits until it listens, and returns what ends it.
func (p proxy) start(ctx context.Context, program string, s site, more []replacement) (stop func(), err error) {
	config, err := p.config(s, more)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, p.args(config)...)
	var output brokertest.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		_ = cmd.Wait() // what it said tells more
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(startTimeout):
			_ = cmd.Process.Kill() // the same
			<-ended
		}
	}
	if err := await(ctx, s.port, ended); err != nil {
		stop()
		return nil, fmt.Errorf("%s: %w\n%s", p.name, err, output.String())
	}
	return stop, nil
}

// await waits until somebody listens at the port.
func await(ctx context.Context, port int, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w", err)
		}
	}
}
