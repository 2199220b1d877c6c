package proxies

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// deployment is a gateway behind a proxy.
type deployment struct {
	site
	client  *http.Client
	gateway *warrentest.Gateway
}

// deploy starts both. The gateway has the exchanges of --demo, which are there again after a restart.
func (p proxy) deploy(t *testing.T) *deployment {
	t.Helper()
	s, err := newSite(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{site: s, client: newClient(t)}
	d.startGateway(t)
	stop, err := p.start(t.Context(), p.path(t), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return d
}

func (d *deployment) startGateway(t *testing.T) {
	t.Helper()
	d.gateway = warrentest.Start(t, append(d.gatewayArgs(), "--demo", "--heartbeat", "1s")...)
}

// publish publishes a text, under a routing key that the demo does not use.
func (d *deployment) publish(t *testing.T, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"routing_key": "proxies.test", "payload": text, "properties": map[string]any{"content_type": "text/plain"}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url()+"/v1/exchanges/builds/publish", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), "true") {
		t.Fatalf("publishing %q: %s %s", text, resp.Status, answer)
	}
}

// stream is what is listened to.
const stream = "?exchange=builds&routing_key=proxies.%23"

func TestEventSourceGoesOnBehindAProxy(t *testing.T) {
	t.Parallel()
	for _, p := range both {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			d := p.deploy(t)
			e := openEventSource(t, d.url()+"/v1/sse"+stream)
			if f := e.next(t, false); f.Type != "ready" {
				t.Fatalf("first came %+v", f)
			}
			d.publish(t, "m1")
			if f := e.next(t, false); f.Payload != "m1" {
				t.Fatalf("m1 was published, %+v came", f)
			}
			for range 2 {
				if f := e.next(t, true); f.Type != "ping" {
					t.Fatalf("on a silent stream %+v came", f)
				}
			}
			if proto := e.drop(); proto != "HTTP/2.0" {
				t.Errorf("the proxy speaks %s", proto)
			}
			d.resumes(t, e)
			d.survives(t, e)
		})
	}
}

// resumes publishes to a reader that was cut off, which gets all of it.
func (d *deployment) resumes(t *testing.T, e *eventSource) {
	t.Helper()
	d.publish(t, "m2")
	d.publish(t, "m3")
	var got []string
	resumed := false
	for len(got) < 2 {
		switch f := e.next(t, false); f.Type {
		case "message":
			got = append(got, f.Payload)
		case "ready":
			resumed = f.Resumed
		default:
			t.Fatalf("a reader that was cut got %+v", f)
		}
	}
	if got[0] != "m2" || got[1] != "m3" || !resumed {
		t.Errorf("a reader that was cut got %v, resumed %v", got, resumed)
	}
}

// survives stops the gateway and starts another in its place.
func (d *deployment) survives(t *testing.T, e *eventSource) {
	t.Helper()
	if err := d.gateway.Stop(); err != nil {
		t.Fatal(err)
	}
	if f := e.next(t, false); f.Type != "bye" || f.Code != 1001 {
		t.Fatalf("the gateway stopped, and %+v came", f)
	}
	if ms := e.awaitHollow(t); ms < 1000 || ms > 10000 {
		t.Errorf("while there is no gateway an EventSource is to come back after %d ms", ms)
	}
	d.startGateway(t)
	if f := e.next(t, false); f.Type != "ready" || f.Resumed {
		t.Fatalf("a new gateway said %+v", f)
	}
	if f := e.next(t, false); f.Type != "gap" || f.Reason != "subscription_lost" {
		t.Fatalf("the gateway was another, and %+v came", f)
	}
	d.publish(t, "m4")
	if f := e.next(t, false); f.Payload != "m4" {
		t.Fatalf("m4 was published, %+v came", f)
	}
}

func TestWebSocketGoesThroughAProxy(t *testing.T) {
	t.Parallel()
	for _, p := range both {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.deploy(t).talks(t)
		})
	}
}

// talks listens and asks on a WebSocket until the gateway stops.
func (d *deployment) talks(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, d.url()+"/v1/ws"+stream, &websocket.DialOptions{HTTPClient: d.client, Subprotocols: []string{"warren.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // it may be closed
	expect(ctx, t, conn, "ready")
	expect(ctx, t, conn, "ping")
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, conn, "pong")
	d.publish(t, "m1")
	if f := expect(ctx, t, conn, "message"); f.Payload != "m1" {
		t.Errorf("m1 was published, %+v came", f)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.gateway.Stop() }()
	if f := expect(ctx, t, conn, "bye"); f.Code != 1001 || f.Reason != "shutting_down" {
		t.Errorf("the gateway stopped, and %+v came", f)
	}
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("after bye came %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// expect reads up to a frame of the type.
func expect(ctx context.Context, t *testing.T, conn *websocket.Conn, kind string) frame {
	t.Helper()
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("%s was to come: %v", kind, err)
		}
		var f frame
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		if f.Type == kind {
			return f
		}
	}
}

// backend is a gateway that is out of order: it does with a connection what do says.
func backend(t *testing.T, address string, do func(net.Conn)) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				do(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait()
	})
}

func TestProxyWithoutAGatewayTellsAnEventSourceToComeBack(t *testing.T) {
	t.Parallel()
	for _, p := range both {
		for name, do := range map[string]func(net.Conn){
			"nobody listens": nil, // HAProxy's 503, nginx's 502
			"it hangs up": func(conn net.Conn) { // 502
				_, _ = conn.Read(make([]byte, 1))
			},
			"it says nothing": func(conn net.Conn) { // 504
				_, _ = io.Copy(io.Discard, conn)
			},
		} {
			t.Run(p.name+" where "+name, func(t *testing.T) {
				t.Parallel()
				s, err := newSite(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				if do != nil {
					backend(t, s.backend, do)
				}
				stop, err := p.start(t.Context(), p.path(t), s, p.hurry)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop) // before the backend, which the connections of a proxy would hold up
				s.comesBack(t)
				s.refuses(t)
			})
		}
	}
}

// comesBack looks at what the proxy tells an EventSource.
func (s site) comesBack(t *testing.T) {
	t.Helper()
	resp, text := s.get(t, "/v1/sse?exchange=builds", "text/event-stream")
	ms, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(text, "retry: "), "\n\n")) // 0 is wrong, too
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" || ms < 1000 || ms > 10000 {
		t.Errorf("an EventSource got %s %v %q", resp.Status, resp.Header, text)
	}
}

// refuses looks at what the proxy tells everybody else: a document like those of the gateway.
func (s site) refuses(t *testing.T) {
	t.Helper()
	resp, text := s.get(t, "/v1/exchanges", "application/json")
	var problem struct {
		Status int
		Code   string
	}
	if err := json.Unmarshal([]byte(text), &problem); err != nil || resp.StatusCode != http.StatusServiceUnavailable || problem.Status != resp.StatusCode ||
		problem.Code != "over_capacity" || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Cache-Control") != "no-store" ||
		resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("X-Unreachable") != "" {
		t.Errorf("others got %s %v %q", resp.Status, resp.Header, text)
	}
}

// get asks the proxy and reads the answer.
func (s site) get(t *testing.T, path, accept string) (resp *http.Response, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err = newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(raw)
}
