package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/memory"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
	"github.com/warren-gateway/warren/transport"
)

// deadline bounds everything a test waits for.
const deadline = 10 * time.Second

// gateway is a whole gateway over the memory source, with a listener of its own.
type gateway struct {
	t       *testing.T
	api     *api.API
	broker  *broker.Broker
	memory  *memory.Broker
	gate    *admission.Gate
	streams *transport.Server
	client  *http.Client
	addr    string
	base    string
}

// setup is what a test may change before the gateway starts.
type setup struct {
	options api.Options
	bounds  admission.Limits
	limits  broker.Limits
	streams transport.Options
	source  broker.Source // instead of the memory source
}

func newGateway(t *testing.T, change ...func(*setup)) *gateway {
	t.Helper()
	policy, err := identity.NewPolicy(identity.PolicyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, memory: memory.New(memory.Options{})}
	s := &setup{
		options: api.Options{Policy: policy, Publisher: g.memory}, bounds: admission.DefaultLimits(), limits: broker.DefaultLimits(),
		streams: transport.Options{Problem: api.Problem}, source: g.memory,
	}
	for _, c := range change {
		c(s)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = listener.Addr().String()
	g.base = "http://" + g.addr
	g.broker = broker.New(broker.Options{Source: s.source, Limits: s.limits})
	g.gate = admission.New(s.bounds)
	g.streams = transport.New(s.streams)
	s.options.Broker, s.options.Streams, s.options.Admission = g.broker, g.streams, g.gate
	if s.options.Listen == "" {
		s.options.Listen = g.addr
	}
	if g.api, err = api.New(s.options); err != nil {
		t.Fatal(err)
	}
	server := api.NewServer(g.api, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	var way http.RoundTripper = &http.Transport{IdleConnTimeout: 4 * time.Second} // before the gateway closes what was never used
	if s.options.StreamLinger == 0 || s.options.StreamLinger >= time.Second {     // the contract knows no shorter ones
		way = contract.Watch(t, way)
	}
	g.client = &http.Client{Transport: way, Timeout: deadline}
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		g.streams.Close()
		_ = server.Close()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := g.broker.Close(ctx); err != nil {
			t.Error(err)
		}
		_ = s.source.Close(ctx)
		if s.source != broker.Source(g.memory) {
			_ = g.memory.Close(ctx)
		}
		g.countsAreZero()
	})
	return g
}

// countsAreZero is what every test ends with: nothing is counted any more.
func (g *gateway) countsAreZero() {
	g.t.Helper()
	g.eventually("all counts are zero", func() bool {
		c := g.gate.Counts()
		return c.Streams == 0 && c.Owned == 0
	})
}

// eventually polls until cond holds.
func (g *gateway) eventually(what string, cond func() bool) {
	g.t.Helper()
	timeout := time.NewTimer(deadline)
	defer timeout.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-timeout.C:
			g.t.Errorf("never came true: %s", what)
			return
		}
	}
}

// declare makes an exchange of the memory source.
func (g *gateway) declare(name, typ string) {
	g.t.Helper()
	if err := g.memory.Declare(name, typ); err != nil {
		g.t.Fatal(err)
	}
}

// publish publishes to the exchange "orders" with the key "a".
func (g *gateway) publish(body string) {
	g.t.Helper()
	if _, err := g.memory.Publish("orders", "a", broker.Properties{}, []byte(body)); err != nil {
		g.t.Fatal(err)
	}
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem is what a problem document says.
type problem struct {
	Type       string `json:"type"`
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail"`
	Code       string `json:"code"`
	Binding    *int   `json:"binding"`
	Field      string `json:"field"`
	Limit      string `json:"limit"`
	RetryAfter int    `json:"retry_after_seconds"`
}

func (a answer) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d, content type %q, body %s", a.status, got, a.body)
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("problem %s: %v", a.body, err)
	}
	return p
}

// do sends a request. header has names and values in turn; a body that is not
// "" is sent as JSON unless the header says otherwise.
func (g *gateway) do(method, path, body string, header ...string) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.base+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		switch header[i] {
		case "Host":
			r.Host = header[i+1]
		case "Content-Type":
			r.Header.Set("Content-Type", header[i+1])
		default:
			r.Header.Add(header[i], header[i+1])
		}
	}
	resp, err := g.client.Do(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, read}
}

// subscription is what tests look at in a subscription.
type subscription struct {
	ID       string `json:"id"`
	Stream   string `json:"stream"`
	State    string `json:"state"`
	Payload  string `json:"payload"`
	Bindings []struct {
		ID         string         `json:"id"`
		Exchange   string         `json:"exchange"`
		RoutingKey string         `json:"routing_key"`
		Arguments  map[string]any `json:"arguments"`
		State      string         `json:"state"`
	} `json:"bindings"`
	CreatedAt   time.Time      `json:"created_at"`
	ExpiresAt   *time.Time     `json:"expires_at"`
	Linger      int            `json:"linger_seconds"`
	Attachments map[string]int `json:"attachments"`
	Links       map[string]string
}

func (a answer) subscription(t testing.TB, status int) subscription {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	var s subscription
	if err := json.Unmarshal(a.body, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// create makes an owned subscription.
func (g *gateway) create(body string, header ...string) subscription {
	g.t.Helper()
	return g.do("POST", "/v1/subscriptions", body, header...).subscription(g.t, http.StatusCreated)
}
