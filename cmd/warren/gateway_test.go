package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestMain(m *testing.M) { rabbittest.Main(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// running is a gateway that runs in this process through run, as main does.
type running struct {
	t      *testing.T
	url    string
	admin  string
	client *http.Client
	stop   func() error
}

// startGateway runs `warren serve` with the flags on free ports and waits until it listens.
func startGateway(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logs, logWriter := io.Pipe()
	done := make(chan error, 1)
	p := process{
		args:   append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"}, args...),
		stdout: io.Discard, stderr: logWriter,
	}
	go func() {
		done <- run(ctx, p)
		_ = logWriter.Close()
	}()
	transport := &http.Transport{IdleConnTimeout: 4 * time.Second} // before the gateway closes what was never used
	g := &running{t: t, client: &http.Client{Transport: transport}}
	g.stop = sync.OnceValue(func() error {
		cancel()
		defer transport.CloseIdleConnections()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return fmt.Errorf("the gateway did not stop within %v", patience)
		}
	})
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	g.awaitListening(logs, done)
	return g
}

// awaitListening reads the log until it says where, and the rest of it to nowhere.
func (g *running) awaitListening(logs io.Reader, done <-chan error) {
	g.t.Helper()
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		var line struct{ Msg, URL, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			g.url, g.admin = line.URL, line.Admin
			go func() { _, _ = io.Copy(io.Discard, logs) }()
			return
		}
	}
	g.t.Fatalf("the gateway ended: %v", <-done)
}

// call makes a request and returns the status and the body.
func (g *running) call(method, url, body string) (int, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := g.client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// declare makes a topic exchange.
func (g *running) declare(name string) {
	g.t.Helper()
	if status, body := g.call("PUT", g.url+"/v1/exchanges/"+name, `{"type":"topic"}`); status >= 300 {
		g.t.Fatalf("declaring %s: %d %s", name, status, body)
	}
}

// publish publishes the numbers from first to last.
func (g *running) publish(exchange string, first, last int) {
	g.t.Helper()
	for i := first; i <= last; i++ {
		body := fmt.Sprintf(`{"routing_key":"n","payload":"%d","payload_encoding":"string","properties":{}}`, i)
		if status, answer := g.call("POST", g.url+"/v1/exchanges/"+exchange+"/publish", body); status != 200 {
			g.t.Fatalf("publishing %d: %d %s", i, status, answer)
		}
	}
}

// listening is a `warren listen` that runs in this process.
type listening struct {
	t      *testing.T
	lines  chan string
	done   chan error
	cancel context.CancelFunc
	log    *brokertest.Buffer
}

func startListen(t *testing.T, args ...string) *listening {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, outWriter := io.Pipe()
	l := &listening{t: t, lines: make(chan string, 1000), done: make(chan error, 1), cancel: cancel, log: &brokertest.Buffer{}}
	go func() {
		l.done <- run(ctx, process{args: append([]string{"listen"}, args...), stdout: outWriter, stderr: l.log})
		_ = outWriter.Close()
	}()
	go func() {
		defer close(l.lines)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 4<<20)
		for scanner.Scan() {
			l.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range l.lines { // until it has ended
		}
	})
	return l
}

// next returns the next line as "type", or as the payload of a message.
func (l *listening) next() string {
	l.t.Helper()
	select {
	case line, ok := <-l.lines:
		if !ok {
			return "END"
		}
		var f struct {
			Type    string
			Payload json.RawMessage
			Reason  string
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			l.t.Fatalf("%v: %s", err, line)
		}
		switch f.Type {
		case "message":
			return string(f.Payload)
		case "gap", "bye":
			return f.Type + " " + f.Reason
		}
		return f.Type
	case <-time.After(patience):
		l.t.Fatalf("no line came; the log says:\n%s", l.log)
		return ""
	}
}

func (l *listening) want(words ...string) {
	l.t.Helper()
	for _, want := range words {
		if got := l.next(); got != want {
			l.t.Fatalf("the line is %q, want %q; the log says:\n%s", got, want, l.log)
		}
	}
}

// cutter is a TCP proxy whose connections can be cut.
type cutter struct {
	listener net.Listener
	group    sync.WaitGroup
	mu       sync.Mutex // guards all below
	target   string
	conns    []net.Conn
}

func startCutter(t *testing.T, target string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback: it cannot block
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: listener}
	c.retarget(target)
	c.group.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.cut()
		c.group.Wait()
	})
	return c
}

func (c *cutter) url() string { return "http://" + c.listener.Addr().String() }

// retarget sends new connections to another server.
func (c *cutter) retarget(url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = strings.TrimPrefix(url, "http://")
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		target := c.target
		c.mu.Unlock()
		server, err := net.Dial("tcp", target) //nolint:noctx // loopback: it cannot block
		if err != nil {
			_ = client.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, client, server)
		c.mu.Unlock()
		c.group.Go(func() { pipe(client, server) })
		c.group.Go(func() { pipe(server, client) })
	}
}

func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

// cut closes every connection there is.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}
