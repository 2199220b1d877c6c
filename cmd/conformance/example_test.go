package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-gateway/warren/cmd/conformance/contract"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// network is a connection between client and gateway that can be cut.
type network struct {
	to  string
	all sync.WaitGroup

	mu    sync.Mutex // guards the rest
	cut   bool
	conns map[net.Conn]bool
}

// newNetwork starts a proxy to the address and returns its own.
func newNetwork(t *testing.T, to string) (*network, string) {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{to: to, conns: map[net.Conn]bool{}}
	n.all.Go(func() { // ends when the listener is closed
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.all.Go(func() { n.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		n.set(true)
		n.all.Wait()
	})
	return n, listener.Addr().String()
}

// set cuts the network or mends it.
func (n *network) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	if cut {
		for conn := range n.conns {
			_ = conn.Close()
		}
		clear(n.conns)
	}
}

// carry copies both ways until either end is closed.
func (n *network) carry(in net.Conn) {
	defer in.Close()
	var d net.Dialer
	out, err := d.DialContext(context.Background(), "tcp", n.to)
	if err != nil {
		return
	}
	defer out.Close()
	n.mu.Lock()
	if n.cut {
		n.mu.Unlock()
		return
	}
	n.conns[in], n.conns[out] = true, true
	n.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // either end may go
			_ = way[0].Close()
		})
	}
	both.Wait()
}

// example is docs/examples/listen.py at work.
type example struct {
	t      *testing.T
	cmd    *exec.Cmd
	frames chan map[string]any // what it prints
	states chan string         // what it says of the stream
	read   sync.WaitGroup      // of what it prints and says
}

func startExample(t *testing.T, url string, count int) *example {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", "../../docs/examples/listen.py", url, fmt.Sprint(count))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("python3 is needed for docs/examples/listen.py: %v", err)
	}
	e := &example{t: t, cmd: cmd, frames: make(chan map[string]any, 100), states: make(chan string, 100)}
	e.read.Go(func() { // these end with the process
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var frame map[string]any
			if json.Unmarshal(lines.Bytes(), &frame) == nil {
				e.frames <- frame
			}
		}
		close(e.frames)
	})
	e.read.Go(func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			e.states <- lines.Text()
		}
		close(e.states)
	})
	t.Cleanup(e.read.Wait)
	return e
}

// end waits until the process has ended by itself, and returns how.
func (e *example) end() error {
	e.read.Wait()
	return e.cmd.Wait()
}

// next returns the next frame, written as type and payload or reason and count.
func (e *example) next() string {
	e.t.Helper()
	select {
	case f := <-e.frames:
		if f["type"] == "gap" {
			return fmt.Sprint("gap ", f["reason"], " ", f["missed"])
		}
		return fmt.Sprint(f["type"], " ", f["payload"])
	case <-time.After(30 * time.Second):
		e.t.Fatal("listen.py prints nothing")
	}
	return ""
}

// says waits for a state that begins so.
func (e *example) says(begin string) {
	e.t.Helper()
	var said []string
	for {
		select {
		case s, ok := <-e.states:
			said = append(said, s)
			if strings.HasPrefix(s, begin) {
				return
			}
			if !ok {
				e.t.Fatalf("listen.py ended, and said %q, not %q", said, begin)
			}
		case <-time.After(30 * time.Second):
			e.t.Fatalf("listen.py said %q, not %q", said, begin)
		}
	}
}

func TestExampleClientIsCutResumesAndReportsGaps(t *testing.T) {
	t.Parallel()
	gateway := warrentest.Start(t, "--log-frames", "4")
	direct := &rest{t, gateway.URL}
	direct.call(http.MethodPut, "/v1/exchanges/builds", `{"type":"topic"}`)
	network, address := newNetwork(t, strings.TrimPrefix(gateway.URL, "http://"))
	e := startExample(t, "http://"+address+"/v1/sse?exchange=builds&routing_key=%23", 6)
	e.says("live on")
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := e.next(); got != w {
				t.Errorf("listen.py printed %q, want %q", got, w)
			}
		}
	}
	direct.publish("m1", "m2")
	expect("message m1", "message m2")

	network.set(true)
	direct.publish("m3")
	network.set(false)
	expect("message m3")

	network.set(true)
	direct.publish("m4", "m5", "m6", "m7", "m8", "m9")
	network.set(false)
	// The log holds four of the six.
	expect("gap evicted 2", "message m6", "message m7", "message m8")
	if err := e.end(); err != nil {
		t.Errorf("listen.py, which had its 6 messages: %v", err)
	}
}

func TestExampleClientStopsAtAFinalRefusal(t *testing.T) {
	t.Parallel()
	gateway := warrentest.Start(t)
	e := startExample(t, gateway.URL+"/v1/sse?exchange=none", 1)
	e.says("refused: 404")
	if err := e.end(); err == nil {
		t.Error("listen.py exits with 0 after a refusal")
	}
}

func TestExampleClientComesBackWhateverAProxySaysOfWhen(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Swap(true) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Retry-After", "Mon, 30 Nov 2026 11:40:00 GMT")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer proxy.Close()
	e := startExample(t, proxy.URL+"/v1/sse?exchange=none", 1)
	e.says("refused: 404")
	if err := e.end(); err == nil {
		t.Error("listen.py exits with 0 after a refusal")
	}
}

// rest makes requests to a gateway.
type rest struct {
	t   *testing.T
	url string
}

func (r *rest) call(method, path, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: contract.Watch(r.t, transport)}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		r.t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

// publish publishes texts to the exchange builds.
func (r *rest) publish(bodies ...string) {
	r.t.Helper()
	for _, body := range bodies {
		r.call(http.MethodPost, "/v1/exchanges/builds/publish", `{"routing_key":"linux","payload":"`+body+`"}`)
	}
}
