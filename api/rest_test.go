package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

func TestSubscriptionThroughItsLife(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	g.declare("audit", "headers")
	made := g.do("POST", "/v1/subscriptions", `{"bindings":[{"exchange":"orders","routing_key":"eu.#"},{"exchange":"orders","routing_key":"eu.#"},
		{"exchange":"audit","routing_key":"","arguments":{"x-match":"all","n":1.0,"f":1.5,"deep":[[true,null],"s"]}}],"payload":"raw","linger_seconds":5}`)
	sub := made.subscription(t, http.StatusCreated)
	self := "/v1/subscriptions/" + sub.ID
	if made.header.Get("Location") != self || sub.Links["self"] != self || sub.Links["sse"] != self+"/sse" || sub.Links["ws"] != self+"/ws" {
		t.Errorf("location %q, links %v", made.header.Get("Location"), sub.Links)
	}
	if sub.State != "active" || sub.Payload != "raw" || sub.Linger != 5 || sub.ExpiresAt == nil || len(sub.Bindings) != 2 {
		t.Errorf("made %s", made.body)
	}
	if args, _ := json.Marshal(sub.Bindings[1].Arguments); string(args) != `{"deep":[[true,null],"s"],"f":1.5,"n":1,"x-match":"all"}` {
		t.Errorf("arguments %s", args)
	}
	if got := g.do("PATCH", self, `{"linger_seconds":60}`).subscription(t, 200); got.Linger != 60 {
		t.Errorf("linger %d", got.Linger)
	}
	if got := g.do("POST", self+"/pause", "").subscription(t, 200); got.State != "paused" {
		t.Errorf("state %s", got.State)
	}
	if got := g.do("POST", self+"/resume", "").subscription(t, 200); got.State != "active" {
		t.Errorf("state %s", got.State)
	}
	got := g.do("POST", self+"/bindings", `{"bindings":[{"exchange":"orders","routing_key":"us.#"},{"exchange":"orders","routing_key":"eu.#"}]}`).subscription(t, 200)
	if len(got.Bindings) != 3 {
		t.Errorf("bindings %v", got.Bindings)
	}
	got = g.do("PUT", self+"/bindings", `{"bindings":[{"exchange":"orders","routing_key":"asia.#"}]}`).subscription(t, 200)
	if len(got.Bindings) != 1 || got.Bindings[0].RoutingKey != "asia.#" || got.Bindings[0].State != "bound" {
		t.Errorf("bindings %v", got.Bindings)
	}
	refusal{method: "DELETE", path: self + "/bindings/nope", status: 404, code: "binding_not_found"}.check(t, g)
	refusal{method: "POST", path: self + "/bindings", body: `{"bindings":[{"exchange":"orders","routing_key":"x"},{"exchange":"nope","routing_key":"x"}]}`, status: 404, code: "exchange_not_found", binding: 2}.check(t, g)
	refusal{method: "POST", path: self + "/bindings", body: `{"bindings":[]}`, status: 400, code: "invalid_request", field: "bindings"}.check(t, g)
	if got = g.do("DELETE", self+"/bindings/"+got.Bindings[0].ID, "").subscription(t, 200); len(got.Bindings) != 0 {
		t.Errorf("bindings %v", got.Bindings)
	}
	if a := g.do("DELETE", self, ""); a.status != http.StatusNoContent || len(a.body) != 0 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refusal{method: "GET", path: self, status: 404, code: "subscription_not_found"}.check(t, g)
	refusal{method: "GET", path: self + "/sse", header: []string{"Accept", "text/event-stream"}, status: 404, code: "subscription_not_found"}.check(t, g)
}

func TestSixtyFifthBindingReachesTheLimit(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	self := g.create(manyBindings(64)).Links["self"]
	got := g.do("POST", self+"/bindings", `{"bindings":[{"exchange":"orders","routing_key":"one.more"}]}`)
	if p := got.problem(t); p.Status != 429 || p.Code != "limit_reached" || p.Limit != "max-bindings" {
		t.Errorf("got %s", got.body)
	}
}

// TestStringsThatOnlyLookLikeHalfASurrogateAreTaken: U+FFFD is a character as any other.
func TestStringsThatOnlyLookLikeHalfASurrogateAreTaken(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	for sent, want := range map[string]string{
		`\ud83d\ude00 ` + "\uFFFD": "😀 \uFFFD", `\uD83D\uDE00\ufffd`: "😀\uFFFD", `\\ud800 ` + "\uFFFD": `\ud800 ` + "\uFFFD", `\\\ud83d\ude00`: `\😀`,
	} {
		made := g.create(`{"bindings":[{"exchange":"orders","routing_key":"` + sent + `","arguments":{"` + sent + `":1}}]}`)
		if got := made.Bindings[0]; got.RoutingKey != want || got.Arguments[want] != 1.0 {
			t.Errorf("%s became %q and %v", sent, got.RoutingKey, got.Arguments)
		}
	}
}

func TestHeadAndOptions(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	self := g.create(`{}`).Links["self"]
	for path, allow := range map[string]string{
		"/v1/subscriptions":        "GET, HEAD, POST, OPTIONS",
		self:                       "GET, HEAD, PATCH, DELETE, OPTIONS",
		self + "/bindings":         "POST, PUT, OPTIONS",
		self + "/sse":              "GET, HEAD, OPTIONS",
		"/v1/ws":                   "GET, HEAD, OPTIONS",
		"/v1/exchanges/a%2Fb":      "PUT, OPTIONS",
		"/livez":                   "GET, HEAD, OPTIONS",
		"/v1/subscriptions/x/nope": "",
		"/inspector/nope.js":       "",
	} {
		a := g.do("OPTIONS", path, "")
		if want := map[bool]int{true: 204, false: 404}[allow != ""]; a.status != want || a.header.Get("Allow") != allow {
			t.Errorf("OPTIONS %s: %d, Allow %q", path, a.status, a.header.Get("Allow"))
		}
		if b := g.do("BREW", path, ""); allow != "" && (b.status != 405 || b.header.Get("Allow") != allow) {
			t.Errorf("BREW %s: %d, Allow %q", path, b.status, b.header.Get("Allow"))
		}
	}
	for path, status := range map[string]int{
		self: 200, self + "/sse": 200, "/v1/sse?exchange=orders": 200, "/v1/sse": 400, "/v1/sse?exchange=warren.x": 403,
		"/v1/ws": 426, "/v1/subscriptions/nope/sse": 404, "/v1/exchanges": 200, "/readyz": 200,
	} {
		if a := g.do("HEAD", path, ""); a.status != status || len(a.body) > 0 {
			t.Errorf("HEAD %s: %d, want %d", path, a.status, status)
		}
	}
	if n := len(g.broker.All()); n != 1 {
		t.Errorf("HEAD made subscriptions: %d", n)
	}
}

func TestExchangesAndPublishing(t *testing.T) {
	g := newGateway(t)
	for range 2 {
		a := g.do("PUT", "/v1/exchanges/a%2Fb", `{"type":"topic","durable":true,"auto_delete":false,"internal":false,"arguments":{}}`)
		if a.status != 201 && a.status != 204 || len(a.body) != 0 {
			t.Errorf("declare: %d %s", a.status, a.body)
		}
	}
	list := g.do("GET", "/v1/exchanges", "")
	if !strings.Contains(string(list.body), `{"name":"a/b","type":"topic"}`) {
		t.Errorf("list %s", list.body)
	}
	s := g.stream("/v1/sse?exchange=a%2Fb&routing_key=k.%23")
	s.expect("ready")
	a := g.do("POST", "/v1/exchanges/a%2Fb/publish", `{"routing_key":"k.1","payload":"eyJhIjoxfQ==","payload_encoding":"base64",
		"properties":{"content_type":"application/json","timestamp":7,"priority":3,"headers":{"h":[1,{"i":"j"}]}}}`)
	if string(a.body) != `{"routed":true}`+"\n" {
		t.Errorf("publish: %d %s", a.status, a.body)
	}
	f, _ := json.Marshal(s.expect("message"))
	for _, want := range []string{`"payload":{"a":1}`, `"timestamp":7`, `"priority":3`, `"headers":{"h":[1,{"i":"j"}]}`, `"routing_key":"k.1"`} {
		if !strings.Contains(string(f), want) {
			t.Errorf("message %s lacks %s", f, want)
		}
	}
	if a := g.do("POST", "/v1/exchanges/a%2Fb/publish", `{"routing_key":"other","payload":""}`); string(a.body) != `{"routed":false}`+"\n" {
		t.Errorf("publish: %d %s", a.status, a.body)
	}
}

func TestPublishingIsOffWithoutAPublisher(t *testing.T) {
	g := newGateway(t, func(s *setup) { s.options.Publisher = nil })
	refusal{method: "PUT", path: "/v1/exchanges/x", body: `{"type":"topic"}`, status: 404, code: "not_found"}.check(t, g)
	refusal{method: "POST", path: "/v1/exchanges/x/publish", body: `{}`, status: 404, code: "not_found"}.check(t, g)
	for _, path := range []string{"/v1/exchanges/x", "/v1/exchanges/x/publish"} {
		refusal{method: "OPTIONS", path: path, status: 404, code: "not_found"}.check(t, g)
	}
}

func TestHealth(t *testing.T) {
	fake := brokertest.NewFake()
	g := newGateway(t, func(s *setup) { s.source = fake })
	check := func(path string, status int, body string) {
		t.Helper()
		if a := g.do("GET", path, "", "Host", "10.1.2.3", "Origin", "https://elsewhere.example"); a.status != status || string(a.body) != body+"\n" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	check("/livez", 200, `{"status":"ok","reasons":[]}`)
	check("/readyz", 200, `{"status":"ok","reasons":[]}`)
	fake.SetHealth(broker.Health{Reasons: []string{"no connection"}})
	check("/readyz", 503, `{"status":"unavailable","reasons":["no connection"]}`)
	refusal{method: "POST", path: "/v1/subscriptions", body: `{}`, status: 503, code: "broker_unavailable"}.check(t, g)
	fake.SetHealth(broker.Health{Ready: true, Overloaded: true})
	check("/readyz", 200, `{"status":"ok","reasons":[]}`)
	a := g.do("POST", "/v1/subscriptions", `{}`)
	if p := a.problem(t); p.Code != "over_capacity" || p.Limit != "broker" || p.RetryAfter == 0 || a.header.Get("Retry-After") == "" {
		t.Errorf("got %s", a.body)
	}
	fake.SetHealth(broker.Health{Ready: true})
	g.api.Drain()
	check("/readyz", 503, `{"status":"unavailable","reasons":["the gateway is shutting down"]}`)
	check("/livez", 200, `{"status":"ok","reasons":[]}`)
	refusal{method: "POST", path: "/v1/subscriptions", body: `{}`, status: 503, code: "shutting_down"}.check(t, g)
	refusal{method: "GET", path: "/v1/sse?exchange=orders", status: 503, code: "shutting_down"}.check(t, g)
}

// TestProbeByAnotherSpellingIsNone: paths are told apart as they are sent.
func TestProbeByAnotherSpellingIsNone(t *testing.T) {
	g := newGateway(t)
	for _, path := range []string{"/%6civez", "/read%79z"} {
		refusal{method: "GET", path: path, status: 404, code: "not_found"}.check(t, g)
		refusal{method: "BREW", path: path, status: 404, code: "not_found"}.check(t, g)
		refusal{method: "GET", path: path, header: []string{"Host", "evil.example"}, status: 421, code: "wrong_host"}.check(t, g)
		refusal{method: "GET", path: path, header: []string{"Origin", "https://evil.example"}, status: 403, code: "forbidden_origin"}.check(t, g)
	}
}

func TestWhoClosesItsSideGetsNoAnswerRatherThanAnEmptyOne(t *testing.T) {
	fake := brokertest.NewFake()
	g := newGateway(t, func(s *setup) { s.source = fake })
	defer fake.Hold(brokertest.OpOpen)()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(deadline))
	const body = `{"bindings":[{"exchange":"orders","routing_key":"#"}]}`
	fmt.Fprintf(conn, "POST /v1/subscriptions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", g.addr, len(body), body)
	g.eventually("the broker is asked", func() bool { return len(fake.Calls(brokertest.OpOpen)) == 1 })
	_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // plain TCP
	if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
		t.Errorf("answered %q, %v", got, err)
	}
}

func TestFailuresOfTheBroker(t *testing.T) {
	fake := brokertest.NewFake()
	g := newGateway(t, func(s *setup) { s.source = fake })
	const body = `{"bindings":[{"exchange":"a","routing_key":"x"},{"exchange":"b","routing_key":"x"}]}`
	fail := func(err error) refusal {
		fake.Fail(brokertest.OpOpen, err)
		return refusal{method: "POST", path: "/v1/subscriptions", body: body}
	}
	for code, status := range map[broker.Code]int{
		broker.CodeBrokerTimeout: 504, broker.CodeBrokerUnavailable: 503, broker.CodeOverCapacity: 503,
	} {
		c := fail(broker.Errorf(code, "why"))
		c.status, c.code = status, string(code)
		c.check(t, g)
	}
	c := fail(broker.Errorf(broker.CodeForbiddenBinding, "why").WithBinding(1))
	c.status, c.code, c.binding = 403, "forbidden_binding", 2
	c.check(t, g)
	c = fail(net500{})
	c.status, c.code = 500, "internal_error"
	c.check(t, g)
	fake.Fail(brokertest.OpOpen, net500{})
	if a := g.do("POST", "/v1/subscriptions", body); strings.Contains(string(a.body), "10.0.0.1") {
		t.Errorf("internals reach the client: %s", a.body)
	}
}

// net500 is an error that nobody has mapped.
type net500 struct{}

func (net500) Error() string { return "dial tcp 10.0.0.1:5672: refused" }

func TestFilesHaveTagsAndPolicies(t *testing.T) {
	g := newGateway(t, func(s *setup) {
		s.options.OpenAPI, s.options.AsyncAPI = []byte("openapi: 3.1.0"), []byte("asyncapi: 3.0.0")
		s.options.Client = []byte("export{}")
		s.options.Inspector = fstest.MapFS{"index.html": {Data: []byte("<p>")}, "style.css": {Data: []byte("p{}")}, "README.md": {Data: []byte("#")}}
	})
	for path, media := range map[string]string{
		"/": "text/html; charset=utf-8", "/warren.js": "text/javascript; charset=utf-8", "/inspector/style.css": "text/css; charset=utf-8",
		"/openapi.yaml": "application/yaml", "/asyncapi.yaml": "application/yaml",
	} {
		a := g.do("GET", path, "")
		if a.status != 200 || a.header.Get("Content-Type") != media || a.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
		if csp := a.header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
		if b := g.do("GET", path, "", "If-None-Match", `"x", W/`+a.header.Get("ETag")); b.status != 304 || len(b.body) > 0 {
			t.Errorf("%s again: %d", path, b.status)
		}
	}
	refusal{method: "GET", path: "/inspector/README.md", status: 404, code: "not_found"}.check(t, g)
	refusal{method: "GET", path: "/inspector/index.html", status: 404, code: "not_found"}.check(t, g)
}

func TestFilesAreCompressedForWhoTakesIt(t *testing.T) {
	text := []byte(strings.Repeat("export {}\n", 100))
	g := newGateway(t, func(s *setup) { s.options.Client = text })
	tags := map[string]string{}
	for accepted, coding := range map[string]string{
		"br": "", "identity": "", "gzip;q=0": "", "gzip; q=0.0, br": "", "*": "", "gzip;q=x": "",
		"gzip": "gzip", "br, GZIP": "gzip", "deflate, gzip;q=0.5": "gzip", "gzip ; q=1": "gzip",
	} {
		a := g.do("GET", "/warren.js", "", "Accept-Encoding", accepted)
		body := a.body
		if coding != "" {
			from, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatalf("%q: %v", accepted, err)
			}
			if body, err = io.ReadAll(from); err != nil {
				t.Errorf("%q: %v", accepted, err)
			}
		}
		if !bytes.Equal(body, text) || a.header.Get("Content-Encoding") != coding || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
			t.Errorf("%q: %d bytes, %v", accepted, len(a.body), a.header)
		}
		if vary := strings.Join(a.header.Values("Vary"), ", "); vary != "Origin, Accept-Encoding" {
			t.Errorf("%q: Vary %q", accepted, vary)
		}
		tags[coding] = a.header.Get("ETag")
		if b := g.do("GET", "/warren.js", "", "Accept-Encoding", accepted, "If-None-Match", tags[coding]); b.status != 304 || b.header.Get("Content-Encoding") != "" {
			t.Errorf("%q again: %d %v", accepted, b.status, b.header)
		}
	}
	if tags[""] == tags["gzip"] {
		t.Errorf("both have the tag %s", tags[""])
	}
}

func TestNothingFollowsARequestThatMayHaveHadTwoLengths(t *testing.T) {
	g := newGateway(t)
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(deadline))
	const next = "GET /v1/exchanges HTTP/1.1\r\nHost: localhost\r\n\r\n"
	_, _ = io.WriteString(conn, "POST /v1/subscriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"+next)
	data, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if text := string(data); !strings.HasPrefix(text, "HTTP/1.1 201 ") || strings.Count(text, "HTTP/1.1 ") != 1 || !strings.Contains(text, "Connection: close\r\n") {
		t.Errorf("answered with %q", text)
	}
}
