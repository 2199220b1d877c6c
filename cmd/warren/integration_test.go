package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// bounded is a context for what must happen within the patience of a test.
func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// request makes a JSON request against the gateway and decodes the answer.
func request(t *testing.T, method, url, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := contract.Watch(t, transport).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatalf("%v: %d %s", err, resp.StatusCode, data)
		}
	}
	return resp.StatusCode
}

// subscription is what the tests read of the resource.
type subscription struct {
	ID       string
	Stream   string
	State    string
	Bindings []struct{ ID, Exchange, State string }
	Counters struct{ Received, Evicted, Gaps int }
	Links    struct{ Self, SSE, WS string }
}

func createSubscription(t *testing.T, gateway, exchange string) subscription {
	t.Helper()
	var s subscription
	body := fmt.Sprintf(`{"bindings":[{"exchange":%q,"routing_key":"#"}]}`, exchange)
	if status := request(t, "POST", gateway+"/v1/subscriptions", body, &s); status != 201 {
		t.Fatalf("create answers %d", status)
	}
	return s
}

func TestTwoHundredThousandMessagesReachBothTransportsWhileOneNeverReads(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newRabbitPublisher(t, url)
	pub.declare("flood")
	g := warrentest.Start(t, "--broker", url)
	s := createSubscription(t, g.URL, "flood")
	const messages = 200_000

	sse := openSSE(t, g.URL+"/v1/subscriptions/"+s.ID+"/sse", nil)
	ws, _ := openWS(t, g.URL+"/v1/subscriptions/"+s.ID+"/ws")
	stalled, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://")) //nolint:noctx // loopback: it cannot block
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stalled.Close() }()
	if _, err := fmt.Fprintf(stalled, "GET /v1/subscriptions/%s/sse HTTP/1.1\r\nHost: %s\r\n\r\n", s.ID, strings.TrimPrefix(g.URL, "http://")); err != nil {
		t.Fatal(err)
	}

	var group sync.WaitGroup
	var arrived []*atomic.Int64
	for name, r := range map[string]*frameReader{"ws": ws, "sse": sse} {
		c := mustBeReady(t, r)
		arrived = append(arrived, &c.seen)
		group.Go(func() {
			if err := c.until(r, messages); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if c.first != 1 || c.messages != messages || len(c.gaps) > 0 {
				t.Errorf("%s: %d messages from %d to %d, gaps %v", name, c.messages, c.first, c.last, c.gaps)
			}
		})
	}
	begin := time.Now()
	pub.publishAhead("flood", 1, messages, arrived...)
	group.Wait()
	t.Logf("%d messages in %v", messages, time.Since(begin))
}

func TestSecondSignalEndsADrain(t *testing.T) {
	t.Parallel() // it mostly waits
	g := warrentest.Start(t, "--broker", "memory://", "--drain", "20s", "--write-timeout", "5m", "--request-rate-per-caller", "10000", "--request-burst-per-caller", "10000")
	request(t, "PUT", g.URL+"/v1/exchanges/e", `{"type":"fanout"}`, nil)
	stalled, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://")) //nolint:noctx // loopback: it cannot block
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stalled.Close() }()
	if _, err := fmt.Fprintf(stalled, "GET /v1/sse?exchange=e HTTP/1.1\r\nHost: %s\r\n\r\n", strings.TrimPrefix(g.URL, "http://")); err != nil {
		t.Fatal(err)
	}
	if _, err := stalled.Read(make([]byte, 1)); err != nil { // the stream is there, and read no further
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"routing_key":"","payload":%q,"payload_encoding":"string","properties":{}}`, strings.Repeat("x", 40<<10))
	for range 500 { // more than the kernel's buffers take
		if status := request(t, "POST", g.URL+"/v1/exchanges/e/publish", body, nil); status != 200 {
			t.Fatalf("publishing: %d", status)
		}
	}
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t, patience); !strings.Contains(g.Logs(), `"stopping"`); {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the first signal is not heeded")
		}
	}
	if err := g.Stop(); err == nil || !strings.Contains(err.Error(), "signal: terminated") { // which is the second
		t.Errorf("it drained to the end: %v", err)
	}
}

func TestFiveThousandEventSourcesOnOneURLCostTheBrokerOneQueue(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newRabbitPublisher(t, url)
	pub.declare("crowd")
	g := warrentest.Start(t, "--broker", url, "--max-streams-per-caller", "6000", "--request-rate-per-caller", "10000", "--request-burst-per-caller", "10000")
	const streams, messages = 5000, 20
	var ready, group sync.WaitGroup
	limit := make(chan struct{}, 64) // at the same time; the rest waits in our own queue, not in the kernel's
	for i := range streams {
		ready.Add(1)
		group.Go(func() {
			limit <- struct{}{}
			opened := sync.OnceFunc(func() {
				<-limit
				ready.Done()
			})
			defer opened() // openCrowdSSE may end this goroutine
			r := openCrowdSSE(t, i, g.URL+"/v1/sse?exchange=crowd")
			c := &tally{}
			err := c.ready(r)
			opened()
			if err == nil {
				err = c.until(r, messages)
			}
			if err != nil || c.first != 1 || len(c.gaps) > 0 {
				t.Errorf("stream %d: %d messages, gaps %v: %v", i, c.messages, c.gaps, err)
			}
			r.close()
		})
	}
	ready.Wait()
	queues := strings.Count(rabbittest.Ctl(t, "list_queues", "-q", "-p", url[strings.LastIndexByte(url, '/')+1:], "name"), ".1\n")
	if queues != 1 {
		t.Errorf("%d queues for one URL", queues)
	}
	pub.publish("crowd", 1, messages)
	group.Wait()
}

func TestWebSocketThatIsCutIsContinuedByAnEventSource(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newRabbitPublisher(t, url)
	pub.declare("orders")
	g := warrentest.Start(t, "--broker", url)
	proxy := startCutter(t, g.URL)
	ws, _ := openWS(t, proxy.url()+"/v1/ws?exchange=orders")
	before := mustBeReady(t, ws)
	pub.publish("orders", 1, 500)
	if err := before.until(ws, 250); err != nil {
		t.Fatal(err)
	}
	proxy.cut()
	pub.publish("orders", 501, 1000)
	sse := openSSE(t, g.URL+"/v1/sse?exchange=orders", http.Header{"Last-Event-Id": {before.lastID}})
	after := mustBeReady(t, sse)
	if err := after.until(sse, 1000); err != nil {
		t.Fatal(err)
	}
	if after.first != 251 || len(after.gaps) > 0 {
		t.Errorf("it goes on with %d, gaps %v", after.first, after.gaps)
	}
}

func TestBindToAMissingExchangeHurtsNobody(t *testing.T) {
	url := rabbittest.VHost(t)
	pub := newRabbitPublisher(t, url)
	pub.declare("there")
	g := warrentest.Start(t, "--broker", url)
	other := openSSE(t, g.URL+"/v1/sse?exchange=there", nil)
	others := mustBeReady(t, other)
	s := createSubscription(t, g.URL, "there")
	ws, conn := openWS(t, g.URL+"/v1/subscriptions/"+s.ID+"/ws")
	mine := mustBeReady(t, ws)
	ask := `{"type":"bind","ref":"r1","bindings":[{"exchange":"there","routing_key":"x"},{"exchange":"nowhere","routing_key":"#"}]}`
	if err := conn.Write(bounded(t, patience), websocket.MessageText, []byte(ask)); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Type, Ref string
		Problem   struct {
			Code    string
			Binding *int
		}
	}
	frame, err := ws.frames()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(frame, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Type != "error" || answer.Ref != "r1" || answer.Problem.Code != "exchange_not_found" || answer.Problem.Binding == nil || *answer.Problem.Binding != 1 {
		t.Errorf("the answer is %s", frame)
	}
	pub.publish("there", 1, 100)
	for name, c := range map[string]struct {
		c *tally
		r *frameReader
	}{"the same socket": {mine, ws}, "another stream": {others, other}} {
		if err := c.c.until(c.r, 100); err != nil || len(c.c.gaps) > 0 {
			t.Errorf("%s: %v, gaps %v", name, err, c.c.gaps)
		}
	}
	var now subscription
	request(t, "GET", g.URL+"/v1/subscriptions/"+s.ID, "", &now)
	if len(now.Bindings) != 1 {
		t.Errorf("bindings after a failed bind: %+v", now.Bindings)
	}
}

func TestStreamsStayOpenWhenTheBrokerGoesAndComesBack(t *testing.T) {
	t.Parallel() // it mostly waits
	node := rabbittest.Private(t)
	pub := newRabbitPublisher(t, node.URL())
	pub.declare("durable")
	g := warrentest.Start(t, "--broker", node.URL())
	sse := openSSE(t, g.URL+"/v1/sse?exchange=durable", nil)
	ws, _ := openWS(t, g.URL+"/v1/ws?exchange=durable&routing_key=n.*")
	readers := map[*frameReader]*tally{sse: mustBeReady(t, sse), ws: mustBeReady(t, ws)}
	number := 0
	step := func(faults int) {
		t.Helper()
		pub.publish("durable", number+1, number+1000)
		number += 1000
		for r, c := range readers {
			if err := c.until(r, number); err != nil {
				t.Fatal(err)
			}
			if len(c.gaps) != faults || faults > 0 && !strings.Contains(c.gaps[faults-1], `"broker_reconnected"`) {
				t.Fatalf("after %d faults the gaps are %v", faults, c.gaps)
			}
		}
	}
	step(0)
	if _, err := node.Ctl(t.Context(), "close_all_connections", "test"); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, g, 2)
	pub = newRabbitPublisher(t, node.URL())
	step(1)
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, g, 4)
	pub = newRabbitPublisher(t, node.URL())
	step(2)
}

// awaitReady waits until the gateway has recovered: ready, and as many gaps
// counted as there must be.
func awaitReady(t *testing.T, g *warrentest.Gateway, gaps int) {
	t.Helper()
	ctx := bounded(t, time.Minute)
	ok := warrentest.Eventually(ctx, func() bool {
		return g.Ready(ctx) && gapsOf(t, g) >= gaps
	})
	if !ok {
		t.Fatalf("the gateway did not recover; it counts %d gaps", gapsOf(t, g))
	}
}

// gapsOf reads from the metrics how many gaps all logs have had.
func gapsOf(t *testing.T, g *warrentest.Gateway) int {
	t.Helper()
	return metric(t, g, `warren_gaps_total{reason="broker_reconnected"}`)
}

func metric(t *testing.T, g *warrentest.Gateway, name string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			var n float64
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	return 0
}

func TestFiveHundredSubscriptionsComeAndGoWithoutATrace(t *testing.T) {
	t.Parallel() // it mostly waits
	url := rabbittest.VHost(t)
	pub := newRabbitPublisher(t, url)
	pub.declare("many")
	g := warrentest.Start(t, "--broker", url, "--create-rate", "10000", "--create-rate-per-caller", "10000", "--create-burst-per-caller", "10000",
		"--max-subscriptions-per-caller", "5000", "--request-rate-per-caller", "10000", "--request-burst-per-caller", "10000")
	goroutines := metric(t, g, "go_goroutines")
	const subscriptions = 512
	ids := make(chan string, subscriptions)
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			for i := range subscriptions / 16 {
				body := fmt.Sprintf(`{"bindings":[{"exchange":"many","routing_key":"k%d.%d"}]}`, worker, i)
				var s subscription
				if status := request(t, "POST", g.URL+"/v1/subscriptions", body, &s); status != 201 {
					t.Errorf("create answers %d", status)
					return
				}
				ids <- s.ID
			}
		})
	}
	begin := time.Now()
	group.Wait()
	t.Logf("%d created, %.0f per second", subscriptions, subscriptions/time.Since(begin).Seconds())
	close(ids)
	for range 16 {
		group.Go(func() {
			for id := range ids {
				if status := request(t, "DELETE", g.URL+"/v1/subscriptions/"+id, "", nil); status != 204 {
					t.Errorf("delete answers %d", status)
				}
			}
		})
	}
	group.Wait()
	vhost := url[strings.LastIndexByte(url, '/')+1:]
	var queues string
	var channels int
	if !warrentest.Eventually(bounded(t, 2*time.Minute), func() bool {
		queues = rabbittest.Ctl(t, "list_queues", "-q", "-p", vhost, "name")
		channels = strings.Count(rabbittest.Ctl(t, "list_channels", "-q", "vhost"), vhost+"\n")
		return !strings.Contains(queues, ".1\n") && channels <= 20 && metric(t, g, "go_goroutines") < goroutines+50
	}) {
		t.Errorf("%d goroutines, at first %d; %d channels; queues left:\n%.2000s", metric(t, g, "go_goroutines"), goroutines, channels, queues)
	}
}
