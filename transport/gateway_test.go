package transport_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/transport"
)

// patience is how long a test waits for what must come: far more than it takes
// on a loaded machine.
const patience = 10 * time.Second

// gateway is the real core and the real transports over a scripted source,
// behind a real listener. Its handlers do what api does, without its checks.
type gateway struct {
	t      testing.TB
	source *brokertest.Fake
	core   *broker.Broker
	sub    *broker.Subscription
	server *transport.Server
	http   *httptest.Server

	mu       sync.Mutex // guards all below
	ends     []transport.StreamEnd
	sessions []*session
	refused  int
}

// setup is what a test changes about its gateway.
type setup struct {
	transport transport.Options
	limits    func(*broker.Limits)
	session   session // the prototype of each stream's
	tls       bool
	http2     bool
	needAuth  bool
	open      func(ctx context.Context) error // runs before the attachment is made
	logger    *slog.Logger
	noLimits  bool
	opaque    bool // connections that cannot be polled
	wrap      func(http.ResponseWriter) http.ResponseWriter
}

func newGateway(t testing.TB, s setup) *gateway {
	t.Helper()
	g := &gateway{t: t, source: brokertest.NewFake()}
	limits := broker.DefaultLimits()
	if s.limits != nil {
		s.limits(&limits)
	}
	if s.noLimits {
		limits.MaxAttachments = 1 << 20
	}
	g.core = broker.New(broker.Options{Source: g.source, Limits: limits})
	var err error
	g.sub, err = g.core.Create(t.Context(), broker.Spec{Bindings: []broker.Binding{binding(t, "orders")}, Linger: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s.transport.Problem = problem
	s.transport.Logger = s.logger
	s.transport.OnEnd = func(e transport.StreamEnd) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ends = append(g.ends, e)
	}
	g.server = transport.New(s.transport)
	mux := http.NewServeMux()
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) { g.serveSSE(w, r, s) })
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) { g.serveWS(w, r, s) })
	g.http = httptest.NewUnstartedServer(mux)
	g.http.EnableHTTP2 = s.http2
	if s.opaque {
		g.http.Listener = opaqueListener{g.http.Listener}
	}
	if s.tls || s.http2 {
		g.http.StartTLS()
	} else {
		g.http.Start()
	}
	t.Cleanup(g.close)
	return g
}

func (g *gateway) close() {
	g.server.Close()
	g.http.CloseClientConnections()
	g.http.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.core.Close(ctx); err != nil {
		g.t.Error(err)
	}
	if err := g.source.Close(ctx); err != nil {
		g.t.Error(err)
	}
}

func (g *gateway) serveSSE(w http.ResponseWriter, r *http.Request, s setup) {
	w.Header().Set("Access-Control-Allow-Origin", "https://example.org")
	if s.wrap != nil {
		w = s.wrap(w)
	}
	if r.Method == http.MethodHead {
		g.server.HeadSSE(w)
		return
	}
	if code := r.URL.Query().Get("refuse"); code != "" {
		g.server.RefuseSSE(w, r, broker.Errorf(broker.Code(code), "no"))
		return
	}
	att, err := g.attach(r, broker.SSE)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if reason := r.URL.Query().Get("ended"); reason != "" { // before the stream has had a turn
		att.End(broker.EndReason(reason))
	}
	g.server.ServeSSE(w, r, att, g.newSession(s))
}

func (g *gateway) serveWS(w http.ResponseWriter, r *http.Request, s setup) {
	if err := transport.CheckUpgrade(r); err != nil {
		http.Error(w, string(err.Code), http.StatusUpgradeRequired)
		return
	}
	if code := r.URL.Query().Get("refuse"); code != "" {
		refusal := broker.Errorf(broker.Code(code), "no")
		refusal.RetryAfter = 10 * time.Second
		g.server.RefuseWS(w, r, refusal)
		return
	}
	g.server.ServeWS(w, r, transport.Handshake{
		NeedAuth: s.needAuth,
		Refused: func(transport.Reason) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.refused++
		},
		Open: func(ctx context.Context, token *string) (transport.Opened, error) {
			if s.open != nil {
				if err := s.open(ctx); err != nil {
					return transport.Opened{}, err
				}
			}
			if s.needAuth != (token != nil) || token != nil && *token != "secret" {
				return transport.Opened{}, broker.Errorf(broker.CodeUnauthorized, "no")
			}
			att, err := g.attach(r, broker.WS)
			if err != nil {
				return transport.Opened{}, err
			}
			return transport.Opened{Attachment: att, Session: g.newSession(s), Subscription: json.RawMessage(`{"id":"first"}`)}, nil
		},
	})
}

func (g *gateway) attach(r *http.Request, t broker.Transport) (*broker.Attachment, error) {
	start := broker.Start{From: broker.FromEarliest}
	if after := r.URL.Query().Get("after"); after != "" {
		p, err := broker.ParsePosition(after)
		if err != nil {
			return nil, err
		}
		start = broker.Start{After: p}
	}
	if r.URL.Query().Get("from") == "unread" {
		start.From = broker.FromUnread
	}
	return g.sub.Attach(broker.AttachSpec{Transport: t, Start: start})
}

// publish delivers bodies to the subscription, in order.
func (g *gateway) publish(bodies ...string) {
	g.t.Helper()
	messages := make([]broker.Message, len(bodies))
	for i, body := range bodies {
		messages[i] = broker.Message{Exchange: "orders", RoutingKey: "k", Body: []byte(body)}
	}
	if !g.source.Queue(g.sub.Stream()).Deliver(messages...) {
		g.t.Fatal("the queue is closed")
	}
}

// publishNumbers delivers the JSON numbers from 1 to n.
func (g *gateway) publishNumbers(n int) {
	g.t.Helper()
	for i := 1; i <= n; {
		var bodies []string
		for ; i <= n && len(bodies) < 100; i++ {
			bodies = append(bodies, strconv.Itoa(i))
		}
		g.publish(bodies...)
	}
}

func (g *gateway) newSession(s setup) *session {
	out := &session{allow: s.session.allow, bind: s.session.bind, auth: s.session.auth, closed: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions = append(g.sessions, out)
	return out
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// ended waits for the n-th stream to end and says how it did.
func (g *gateway) ended(n int) transport.StreamEnd {
	g.t.Helper()
	var end transport.StreamEnd
	eventually(g.t, "a stream to end", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.ends) < n {
			return false
		}
		end = g.ends[n-1]
		return true
	})
	return end
}

// attached waits until so many attachments are there.
func (g *gateway) attached(n int) {
	g.t.Helper()
	eventually(g.t, strconv.Itoa(n)+" attachments", func() bool {
		s := g.sub.Snapshot()
		return s.SSE+s.WS == n
	})
}

func (g *gateway) dial() net.Conn {
	g.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(g.t.Context(), "tcp", g.http.Listener.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	if g.http.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func binding(t testing.TB, exchange string) broker.Binding {
	t.Helper()
	b, err := broker.NewBinding(exchange, "#", nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func problem(err *broker.Error) []byte {
	b, _ := json.Marshal(map[string]string{"code": string(err.Code), "field": err.Field})
	return b
}

// session records what a stream asks of its caller.
type session struct {
	allow func() error
	bind  func(context.Context, json.RawMessage) (json.RawMessage, error)
	auth  func(context.Context, string) (json.RawMessage, error)

	closed chan struct{}
}

func (s *session) Allow() error {
	if s.allow == nil {
		return nil
	}
	return s.allow()
}

func (s *session) Bind(ctx context.Context, bindings json.RawMessage) (json.RawMessage, error) {
	if s.bind == nil {
		return json.RawMessage(`{"bound":` + string(bindings) + `}`), nil
	}
	return s.bind(ctx, bindings)
}

func (s *session) Resource() json.RawMessage { return json.RawMessage(`{"id":"r"}`) }

func (s *session) Unbind(_ context.Context, bindings json.RawMessage) (json.RawMessage, error) {
	return json.RawMessage(`{"unbound":` + string(bindings) + `}`), nil
}

func (s *session) Auth(ctx context.Context, token string) (json.RawMessage, error) {
	if s.auth == nil {
		return nil, broker.Errorf(broker.CodeInvalidRequest, "anonymous")
	}
	return s.auth(ctx, token)
}

// Closed panics when it is called twice, which fails the test.
func (s *session) Closed() { close(s.closed) }
