package api_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/transport"
)

func TestStreamsOnOneURLShareOneSubscription(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	a := g.stream("/v1/sse?exchange=orders&routing_key=a&exchange=orders&routing_key=b")
	b := g.socket("/v1/ws?bindings=" + `%5B%7B%22exchange%22%3A%22orders%22%2C%22routing_key%22%3A%22b%22%7D%2C%7B%22exchange%22%3A%22orders%22%2C%22routing_key%22%3A%22a%22%7D%5D`)
	first, second := a.expect("ready"), b.expect("ready")
	if first["stream"] != second["stream"] || first["subscription"] != nil {
		t.Errorf("two streams: %v, %v", first, second)
	}
	b.send(`{"type":"bind","ref":"r","bindings":[{"exchange":"orders","routing_key":"c"}]}`)
	if f := b.expect("error"); f["ref"] != "r" || f["problem"].(map[string]any)["code"] != "shared_subscription" {
		t.Errorf("bind: %v", f)
	}
	own := g.stream("/v1/sse?exchange=orders&share=false").expect("ready")
	if own["subscription"] == nil || own["stream"] == first["stream"] {
		t.Errorf("share=false: %v", own)
	}
	raw := g.stream("/v1/sse?exchange=orders&routing_key=a&exchange=orders&routing_key=b&payload=raw").expect("ready")
	if raw["stream"] == first["stream"] {
		t.Error("another payload mode shares the subscription")
	}
	g.publish("1")
	if f := a.expect("message"); f["routing_key"] != "a" {
		t.Errorf("got %v", f)
	}
	if f := b.expect("message"); f["routing_key"] != "a" {
		t.Errorf("got %v", f)
	}
}

func TestPositionBringsAStreamBack(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	for _, query := range []string{"exchange=orders", "exchange=orders&share=false"} {
		t.Run(query, func(t *testing.T) {
			first := g.stream("/v1/sse?" + query)
			ready := first.expect("ready")
			g.publish("1")
			message := first.expect("message")
			first.close()
			g.publish("2")

			again := g.stream("/v1/sse?"+query, "Last-Event-ID", message["id"].(string))
			back := again.expect("ready")
			if back["stream"] != ready["stream"] || back["resumed"] != true || back["id"] != message["id"] {
				t.Errorf("came back to %v, was %v", back, ready)
			}
			if f := again.expect("message"); f["payload"] != float64(2) {
				t.Errorf("got %v", f)
			}
			again.close()
			// Cut before its first message: ready has an id, too.
			early := g.stream("/v1/sse?"+query+"&after="+ready["id"].(string), "Last-Event-ID", "")
			if back := early.expect("ready"); back["resumed"] != true {
				t.Errorf("ready's own id does not resume: %v", back)
			}
			early.expect("message")
			early.close()
		})
	}
}

func TestPositionOfWhatIsGoneIsAGap(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	other := g.stream("/v1/sse?exchange=orders&routing_key=other").expect("ready")["id"].(string)
	made := g.create(`{"bindings":[{"exchange":"orders","routing_key":"#"}]}`)
	live := g.stream("/v1/sse?exchange=orders").expect("ready")["stream"].(string)
	cases := []struct{ name, path, id, reason string }{
		{"dead stream", "/v1/sse?exchange=orders", "0123456789abcdefg.7", "subscription_lost"},
		{"other stream", "/v1/sse?exchange=orders", other, "subscription_lost"},
		{"created by REST", "/v1/sse?exchange=orders&share=false", made.Stream + ".0", "subscription_lost"},
		{"shared asked with share=false", "/v1/sse?exchange=orders&share=false", live + ".0", "subscription_lost"},
		{"malformed", "/v1/sse?exchange=orders", "not an id", "subscription_lost"},
		{"malformed, own", "/v1/sse?exchange=orders&share=false", "x", "subscription_lost"},
		{"future", "/v1/sse?exchange=orders", live + ".99", "unknown_position"},
		{"by id, malformed", made.Links["sse"], "x", "unknown_position"},
		{"by id, other stream", made.Links["sse"], other, "unknown_position"},
		{"by id, future", made.Links["sse"], made.Stream + ".9", "unknown_position"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := g.stream(c.path, "Last-Event-ID", c.id)
			if ready := s.expect("ready"); ready["resumed"] != false {
				t.Errorf("resumed: %v", ready)
			}
			if gap := s.expect("gap"); gap["reason"] != c.reason || gap["missed"] != nil {
				t.Errorf("gap %v, want %s", gap, c.reason)
			}
			s.close()
		})
	}
}

func TestWhereAStreamStarts(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"#"}]}`)
	for _, body := range []string{"1", "2", "3"} {
		g.publish(body)
	}
	g.eventually("three are in the log", func() bool {
		s, _ := g.broker.Get(sub.ID)
		return s.Snapshot().Received == 3
	})
	for _, c := range []struct {
		query string
		want  float64
	}{{"", 1}, {"from=earliest", 1}, {"last=2", 2}, {"after=" + sub.Stream + ".1", 2}} { // unread first: it ends with what was read
		s := g.stream(sub.Links["sse"] + "?" + c.query)
		s.expect("ready")
		if f := s.expect("message"); f["payload"] != c.want {
			t.Errorf("%s: begins with %v", c.query, f["payload"])
		}
		s.close()
	}
	s := g.stream(sub.Links["sse"] + "?from=latest")
	s.expect("ready")
	g.publish("4")
	if f := s.expect("message"); f["payload"] != float64(4) {
		t.Errorf("latest: %v", f)
	}
}

func TestSocketBindsUnbindsAndIsRefused(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	s := g.socket("/v1/ws")
	ready := s.expect("ready")
	if ready["subscription"] == nil || len(ready["bindings"].([]any)) != 0 {
		t.Errorf("ready %v", ready)
	}
	code := func(request string) (string, any) {
		t.Helper()
		s.send(request)
		p := s.expect("error")["problem"].(map[string]any)
		return p["code"].(string), p["binding"]
	}
	for request, want := range map[string]string{
		`{"type":"bind","bindings":[{"exchange":"","routing_key":"a"}]}`:                              "invalid_request",
		`{"type":"bind","bindings":[]}`:                                                               "invalid_request",
		`{"type":"bind","bindings":"x"}`:                                                              "invalid_request",
		`{"type":"bind","bindings":[{"exchange":"warren.x","routing_key":"a"}]}`:                      "forbidden_binding",
		`{"type":"unbind","bindings":[{"exchange":"orders","routing_key":"a"}]}`:                      "binding_not_found",
		`{"type":"auth","token":"x"}`:                                                                 "invalid_request",
		`{"type":"bind","bindings":[{"exchange":"orders","routing_key":"a","arguments":{"a":[{}]}}]}`: "invalid_request",
	} {
		if got, _ := code(request); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
	if got, at := code(`{"type":"bind","bindings":[{"exchange":"orders","routing_key":"a"},{"exchange":"nope","routing_key":"a"}]}`); got != "exchange_not_found" || at != float64(1) {
		t.Errorf("missing exchange: %s at %v", got, at)
	}
	s.send(`{"type":"bind","ref":"1","bindings":[{"exchange":"orders","routing_key":"a"}]}`)
	s.expect("bindings")
	if f := s.expect("ok"); f["ref"] != "1" || f["subscription"].(map[string]any)["id"] != ready["subscription"] {
		t.Errorf("ok %v", f)
	}
	g.publish("1")
	message := s.expect("message")
	_ = s.conn.CloseNow() // the position alone brings it back, with what it had bound
	s = g.socket("/v1/ws?after=" + message["id"].(string))
	if back := s.expect("ready"); back["subscription"] != ready["subscription"] || back["resumed"] != true || len(back["bindings"].([]any)) != 1 {
		t.Errorf("came back to %v", back)
	}
	s.send(`{"type":"unbind","bindings":[{"exchange":"orders","routing_key":"a"}]}`)
	s.expect("bindings")
	s.expect("ok")
}

func TestRefusedSocketSaysWhy(t *testing.T) {
	g := newGateway(t)
	g.socket("/v1/ws?exchange=nope").expectBye(4404, "exchange_not_found")
	g.socket("/v1/ws?share=true").expectBye(4400, "invalid_request")
	g.socket("/v1/ws?exchange=orders&after=x").expectBye(4400, "invalid_position")
	g.socket("/v1/ws?exchange=warren.x").expectBye(4403, "forbidden_binding")
	g.socket("/v1/subscriptions/nope/ws").expectBye(4404, "subscription_not_found")
	g.api.Drain()
	g.socket("/v1/ws").expectBye(1001, "shutting_down")
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	refusal{method: "GET", path: "/v1/ws", header: append([]string{"Origin", "https://evil.example"}, upgrade...), status: 403, code: "forbidden_origin"}.check(t, g)
	refusal{method: "GET", path: "/v1/ws", header: append([]string{"Host", "evil.example"}, upgrade...), status: 421, code: "wrong_host"}.check(t, g)
	a := g.do("GET", "/v1/ws", "")
	if a.header.Get("Upgrade") != "websocket" || a.header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("426 says %v", a.header)
	}
}

func TestSocketThatLeavesWhileItIsOpenedIsNotRefused(t *testing.T) {
	fake := brokertest.NewFake()
	var refused atomic.Int64
	g := newGateway(t, func(s *setup) {
		s.source = fake
		s.options.OnRefusal = func(broker.Code) { refused.Add(1) }
	})
	defer fake.Hold(brokertest.OpOpen)()
	s := g.socket("/v1/ws?exchange=orders&share=false")
	g.eventually("the broker is asked", func() bool { return len(fake.Calls(brokertest.OpOpen)) == 1 })
	_ = s.conn.CloseNow()
	g.eventually("the stream ends", func() bool { return g.streams.Stats().Closes[transport.ReasonClientGone] == 1 })
	if n := refused.Load(); n != 0 {
		t.Errorf("%d refusals are counted", n)
	}
}

func TestEventSourceComesBackAfterWhatCanPass(t *testing.T) {
	fake := brokertest.NewFake()
	g := newGateway(t, func(s *setup) { s.source = fake })
	fake.SetHealth(broker.Health{})
	s := g.stream("/v1/sse?exchange=orders")
	if f := s.expect("bye"); f["code"] != float64(4503) || f["reason"] != "broker_unavailable" || f["reconnect"] != true {
		t.Errorf("bye %v", f)
	}
	if _, more := s.next(); more {
		t.Error("something follows bye")
	}
	refusal{method: "GET", path: "/v1/sse?exchange=orders", header: []string{"Accept", "*/*"}, status: 503, code: "broker_unavailable"}.check(t, g)
	if a := g.do("HEAD", "/v1/sse", "", "Accept", "text/event-stream"); a.status != 400 {
		t.Errorf("HEAD: %d", a.status)
	}
}

func TestDeletedSubscriptionEndsItsStreams(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	sub := g.create(`{}`)
	s, ws := g.stream(sub.Links["sse"]), g.socket(sub.Links["ws"])
	s.expect("ready")
	ws.expect("ready")
	if got := g.do("GET", sub.Links["self"], "").subscription(t, 200); got.Attachments["sse"] != 1 || got.Attachments["ws"] != 1 {
		t.Errorf("attachments %v", got.Attachments)
	}
	g.do("DELETE", sub.Links["self"], "")
	if f := s.expect("bye"); f["code"] != float64(4410) {
		t.Errorf("bye %v", f)
	}
	ws.expectBye(4410, "subscription_deleted")
	// On /v1/sse the same end brings a new subscription.
	own := g.stream("/v1/sse?exchange=orders&share=false")
	ready := own.expect("ready")
	g.do("DELETE", "/v1/subscriptions/"+ready["subscription"].(string), "")
	own.expect("bye")
	again := g.stream("/v1/sse?exchange=orders&share=false", "Last-Event-ID", ready["id"].(string))
	again.expect("ready")
	if f := again.expect("gap"); f["reason"] != "subscription_lost" {
		t.Errorf("gap %v", f)
	}
}

func TestStreamHeaders(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	s := g.stream("/v1/sse?exchange=orders", "Origin", "http://"+g.addr)
	h := s.resp.Header
	for name, want := range map[string]string{
		"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
		"Access-Control-Allow-Origin": "http://" + g.addr, "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestOldestUnattachedStreamMadeSubscriptionGivesWay(t *testing.T) {
	g := newGateway(t, func(s *setup) { s.bounds.SubscriptionsPerCaller = 3 })
	g.declare("orders", "topic")
	kept := g.create(`{}`) // by REST: never gives way
	attached := g.stream("/v1/sse?exchange=orders&share=false")
	attached.expect("ready")
	for range 5 { // a page that is reloaded
		s := g.stream("/v1/sse?exchange=orders&share=false")
		s.expect("ready")
		s.close()
		g.eventually("the stream is gone", func() bool { return g.gate.Counts().Streams == 1 })
	}
	if g.do("GET", kept.Links["self"], "").status != http.StatusOK {
		t.Error("a created subscription gave way")
	}
	g.publish("1")
	attached.expect("message")
	g.do("POST", "/v1/subscriptions", `{"bindings":[{"exchange":"missing","routing_key":"#"}]}`).problem(t)
	if n := g.gate.Counts().Owned; n != 3 {
		t.Errorf("%d owned: for one that was refused, another gave way", n)
	}
	one := g.stream("/v1/sse?exchange=orders&share=false")
	one.expect("ready")
	a := g.do("POST", "/v1/subscriptions", `{}`)
	if p := a.problem(t); p.Code != "limit_reached" || p.Limit != "max-subscriptions-per-caller" || a.header.Get("Retry-After") == "" {
		t.Errorf("got %s", a.body)
	}
	g.do("DELETE", kept.Links["self"], "")
	g.create(`{}`)
}

func TestBoundsOfOneCaller(t *testing.T) {
	g := newGateway(t, func(s *setup) {
		s.bounds.StreamsPerCaller, s.bounds.Streams = 2, 3
		s.bounds.CreateRatePerCaller, s.bounds.CreateBurstPerCaller = 0.1, 2
		s.bounds.RequestRate, s.bounds.RequestBurst = 0.1, 14
		s.limits.MaxAttachments = 1
	})
	g.declare("orders", "topic")
	sub := g.create(`{}`)
	a := g.stream(sub.Links["sse"])
	a.expect("ready")
	expect := func(got answer, code, limit string) {
		t.Helper()
		p := got.problem(t)
		if p.Code != code || p.Limit != limit || p.RetryAfter < 1 && code == "rate_limited" {
			t.Errorf("got %s, want %s %s", got.body, code, limit)
		}
	}
	expect(g.do("GET", sub.Links["sse"], ""), "limit_reached", "max-attachments")
	b := g.stream("/v1/sse?exchange=orders")
	b.expect("ready")
	expect(g.do("GET", "/v1/sse?exchange=orders", ""), "limit_reached", "max-streams-per-caller")
	g.socket("/v1/ws").expectBye(4429, "limit_reached")
	expect(g.do("POST", "/v1/subscriptions", `{}`), "rate_limited", "create-rate-per-caller")
	b.close()
	// Attaching to a shared subscription that exists is no creation.
	g.eventually("the place is free", func() bool { return g.gate.Counts().Streams == 1 })
	g.stream("/v1/sse?exchange=orders").expect("ready")
	for {
		got := g.do("GET", "/v1/exchanges", "")
		if got.status == http.StatusOK {
			continue
		}
		expect(got, "rate_limited", "request-rate-per-caller")
		if got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		break
	}
	s := g.stream("/v1/sse?exchange=orders")
	if f := s.expect("bye"); f["reason"] != "rate_limited" || f["retry_ms"].(float64) < 1000 {
		t.Errorf("bye %v", f)
	}
}

// TestWhatIsRefusedForGoodIsSoAtACap: an EventSource whose subscription is gone must
// stop, not come back for ever because the caller has as many streams as it may.
func TestWhatIsRefusedForGoodIsSoAtACap(t *testing.T) {
	i := newIssuer(t)
	token := i.token("alice", time.Hour, "orders=#")
	for mode, use := range map[string]func(*setup){"anonymous": func(*setup) {}, "tokens": i.use} {
		t.Run(mode, func(t *testing.T) {
			g := newGateway(t, use, func(s *setup) { s.bounds.StreamsPerCaller = 1 })
			g.declare("orders", "topic")
			one := g.stream("/v1/sse?exchange=orders", bearer(token)...)
			one.expect("ready")
			for _, c := range []struct {
				sse, ws, code string
				status, bye   int
			}{
				{"/v1/subscriptions/nope/sse", "/v1/subscriptions/nope/ws", "subscription_not_found", 404, 4404},
				{"/v1/sse?exchange=warren.x", "/v1/ws?exchange=warren.x", "forbidden_binding", 403, 4403},
			} {
				a := g.do("GET", c.sse, "", append(bearer(token), "Accept", "text/event-stream")...)
				if a.status != c.status || a.problem(t).Code != c.code {
					t.Errorf("%s: %d %s, want %d %s", c.sse, a.status, a.body, c.status, c.code)
				}
				g.socket(c.ws, bearer(token)...).expectBye(c.bye, c.code)
				if mode == "tokens" {
					s := g.socket(c.ws)
					s.send(`{"type":"auth","token":"` + token + `"}`)
					s.expectBye(c.bye, c.code)
				}
			}
			one.close()
			g.countsAreZero()
			g.stream("/v1/sse?exchange=orders", bearer(token)...).expect("ready")
		})
	}
}

func TestRefusedStreamsComeBackInASecondAtTheEarliest(t *testing.T) {
	g := newGateway(t, func(s *setup) { s.bounds.RequestRate, s.bounds.RequestBurst = 100, 1 })
	g.declare("orders", "topic")
	for {
		s := g.stream("/v1/sse?exchange=orders")
		e, _ := s.next()
		if f := e.frame(t); f["type"] == "bye" {
			if f["reason"] != "rate_limited" || f["retry_ms"].(float64) < 1000 {
				t.Errorf("bye %v", f)
			}
			return
		}
	}
}

func TestLingerEndsWhatNobodyListensTo(t *testing.T) {
	g := newGateway(t, func(s *setup) { s.options.StreamLinger = 20 * time.Millisecond })
	g.declare("orders", "topic")
	s := g.stream("/v1/sse?exchange=orders&share=false")
	s.expect("ready")
	s.close()
	g.eventually("nothing is left", func() bool { return len(g.broker.All()) == 0 && g.gate.Counts().Owned == 0 })
}

func TestLongLastEventIDIsMalformed(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	s := g.stream("/v1/sse?exchange=orders", "Last-Event-ID", strings.Repeat("a", 200)+".1")
	if ready := s.expect("ready"); ready["id"] != nil {
		t.Errorf("ready has an id: %v", ready)
	}
	s.expect("gap")
}
