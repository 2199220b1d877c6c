package api_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/api/identity"
)

// issuer mints tokens that its gateway accepts.
type issuer struct {
	t    *testing.T
	file string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &issuer{t, file}
}

func (i *issuer) use(s *setup) {
	verifier, err := identity.NewVerifier(i.t.Context(), identity.VerifierOptions{KeyFile: i.file, HS256: true})
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(verifier.Close)
	s.options.Verifier = verifier
}

func (i *issuer) token(sub string, ttl time.Duration, bind ...string) string {
	return i.limited(sub, ttl, 0, bind...)
}

func (i *issuer) limited(sub string, ttl time.Duration, subscriptions int, bind ...string) string {
	i.t.Helper()
	var grants identity.Grants
	for _, spec := range bind {
		grant, err := identity.ParseGrant(spec)
		if err != nil {
			i.t.Fatal(err)
		}
		grants = append(grants, grant)
	}
	token, err := identity.Mint(identity.MintOptions{
		KeyFile: i.file, HS256: true, Subject: sub, TTL: ttl, Grants: grants, MaxSubscriptions: subscriptions,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return string(token)
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

func TestTokensDecideWhoMayDoWhat(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	g.declare("orders", "topic")
	g.declare("news", "fanout")
	alice, bob := i.token("alice", time.Hour, "orders=eu.#"), i.token("bob", time.Hour, "orders=#", "news=#")
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"eu.de"}]}`, bearer(alice)...)
	self := sub.Links["self"]
	const us, eu = `{"bindings":[{"exchange":"orders","routing_key":"us.#"}]}`, `{"bindings":[{"exchange":"orders","routing_key":"eu.*"}]}`
	with := func(c refusal, token string) refusal {
		c.header = append(c.header, bearer(token)...)
		return c
	}
	cases := []refusal{
		{name: "no token", method: "GET", path: "/v1/subscriptions", status: 401, code: "unauthorized"},
		{name: "no token, create", method: "POST", path: "/v1/subscriptions", body: us, status: 401, code: "unauthorized"},
		{name: "no token, stream", method: "GET", path: "/v1/sse?exchange=orders", status: 401, code: "unauthorized"},
		{name: "no token, EventSource", method: "GET", path: "/v1/sse?exchange=orders", header: []string{"Accept", "text/event-stream"}, status: 401, code: "unauthorized"},
		{name: "no token, by id", method: "GET", path: self + "/sse", status: 401, code: "unauthorized"},
		{name: "no token before a bad query", method: "GET", path: "/v1/sse?bogus=1", status: 401, code: "unauthorized"},
		{name: "no token before a bad place", method: "GET", path: self + "/sse?after=%3f", status: 401, code: "unauthorized"},
		with(refusal{name: "bad token", method: "GET", path: self, status: 401, code: "unauthorized"}, "a.b.c"),
		{name: "token in the query of REST", method: "GET", path: self + "?access_token=" + alice, status: 401, code: "unauthorized"},
		with(refusal{name: "not granted", method: "POST", path: "/v1/subscriptions", body: us, status: 403, code: "forbidden_binding", binding: 1}, alice),
		with(refusal{name: "narrow grant on a fanout", method: "POST", path: "/v1/subscriptions", body: `{"bindings":[{"exchange":"news","routing_key":"eu.x"}]}`, status: 403, code: "forbidden_binding", binding: 1}, i.token("c", time.Hour, "news=eu.#")),
		with(refusal{name: "granted but denied by configuration", method: "GET", path: "/v1/sse?exchange=amq.rabbitmq.event", status: 403, code: "forbidden_binding", binding: 1}, i.token("c", time.Hour, "*=#")),
		with(refusal{name: "another's", method: "GET", path: self, status: 403, code: "forbidden"}, bob),
		with(refusal{name: "another's, delete", method: "DELETE", path: self, status: 403, code: "forbidden"}, bob),
		with(refusal{name: "another's, bind", method: "POST", path: self + "/bindings", body: us, status: 403, code: "forbidden"}, bob),
		with(refusal{name: "another's, pause", method: "POST", path: self + "/pause", status: 403, code: "forbidden"}, bob),
		with(refusal{name: "attach without the grant", method: "GET", path: self + "/sse", status: 403, code: "forbidden_binding"}, i.token("c", time.Hour, "orders=us.#")),
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.check(t, g) })
	}
	if a := g.do("GET", "/v1/subscriptions", ""); a.header.Get("WWW-Authenticate") != `Bearer realm="warren"` {
		t.Errorf("challenge %q", a.header.Get("WWW-Authenticate"))
	}
	if a := g.do("GET", "/v1/subscriptions", "", bearer(bob)...); string(a.body) != `{"subscriptions":[]}`+"\n" {
		t.Errorf("bob's list: %s", a.body)
	}
	g.do("POST", self+"/bindings", eu, bearer(alice)...).subscription(t, http.StatusOK)
	other := g.create(`{}`, bearer(alice)...)
	if a := g.do("GET", "/v1/subscriptions", "", bearer(alice)...); !strings.Contains(string(a.body), sub.ID) || !strings.Contains(string(a.body), other.ID) {
		t.Errorf("alice's list: %s", a.body)
	}
	if a := g.do("GET", "/v1/exchanges", "", bearer(alice)...); string(a.body) != `{"exchanges":[{"name":"orders","type":"topic"}]}`+"\n" {
		t.Errorf("alice's exchanges: %s", a.body)
	}
	s := g.stream(self + "/sse?access_token=" + bob) // whose grants contain the bindings
	s.expect("ready")
	g.stream("/v1/sse?exchange=orders&routing_key=eu.%23", "Cookie", "warren_token="+alice).expect("ready")
	refusal{method: "GET", path: "/v1/exchanges", header: []string{"Cookie", "warren_token=" + alice, "Sec-Fetch-Site", "same-site"}, status: 403, code: "forbidden_origin"}.check(t, g)
}

func TestFirstMessageMayBringTheToken(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use, func(s *setup) { s.streams.AuthTimeout = 50 * time.Millisecond })
	g.declare("orders", "topic")
	g.socket("/v1/ws?exchange=orders").expectBye(4401, "unauthorized") // nothing comes

	g = newGateway(t, i.use)
	g.declare("orders", "topic")
	s := g.socket("/v1/ws?exchange=orders&share=false")
	s.send(`{"type":"auth","ref":"a","token":"` + i.token("alice", time.Hour, "orders=#") + `"}`)
	ready := s.expect("ready")
	if f := s.expect("ok"); f["ref"] != "a" || f["subscription"].(map[string]any)["id"] != ready["subscription"] {
		t.Errorf("ok %v", f)
	}
	if sub, _ := g.broker.Get(ready["subscription"].(string)); sub.Owner() != "sub:alice" {
		t.Errorf("owner %s", sub.Owner())
	}
	s = g.socket("/v1/ws?exchange=orders")
	s.send(`{"type":"auth","token":"a.b.c"}`)
	s.expectBye(4401, "unauthorized")
	s = g.socket("/v1/ws?exchange=orders")
	s.send(`{"type":"auth","token":"` + i.token("bob", time.Hour, "news=#") + `"}`)
	s.expectBye(4403, "forbidden_binding")
}

// TestFirstMessageMovesTheOnlyStreamThereMayBe has a gateway on which there is nobody else.
func TestFirstMessageMovesTheOnlyStreamThereMayBe(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use, func(s *setup) { s.bounds.Streams = 1 })
	g.declare("orders", "topic")
	s := g.socket("/v1/ws?exchange=orders")
	s.send(`{"type":"auth","token":"` + i.token("alice", time.Hour, "orders=#") + `"}`)
	s.expect("ready")
}

func TestAuthRenewsInPlace(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	g.declare("orders", "topic")
	s := g.socket("/v1/ws?exchange=orders&share=false", bearer(i.token("alice", time.Hour, "orders=#"))...)
	id := s.expect("ready")["subscription"].(string)
	refused := func(token, code string) {
		t.Helper()
		s.send(`{"type":"auth","token":"` + token + `"}`)
		if p := s.expect("error")["problem"].(map[string]any); p["code"] != code {
			t.Errorf("got %v, want %s", p, code)
		}
	}
	refused(i.token("bob", time.Hour, "orders=#"), "forbidden")
	refused(i.token("alice", time.Hour, "orders=eu.#"), "forbidden_binding")
	refused("a.b.c", "unauthorized")
	s.send(`{"type":"auth","token":"` + i.token("alice", 3*time.Hour, "orders=#") + `"}`)
	s.expect("ok")
	sub, _ := g.broker.Get(id)
	if until := time.Until(sub.Snapshot().Expires); until < 2*time.Hour {
		t.Errorf("the subscription ends in %v", until)
	}
	// A REST call extends, and an older token does not shorten.
	g.do("GET", "/v1/exchanges", "", bearer(i.token("alice", 5*time.Hour, "orders=#"))...)
	g.do("GET", "/v1/exchanges", "", bearer(i.token("alice", time.Hour, "orders=#"))...)
	if until := time.Until(sub.Snapshot().Expires); until < 4*time.Hour {
		t.Errorf("the subscription ends in %v", until)
	}
}

func TestStreamEndsWithItsToken(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	g.declare("orders", "topic")
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"#"}]}`, bearer(i.token("alice", 3*time.Second, "orders=#"))...)
	guest := g.stream(sub.Links["sse"], bearer(i.token("bob", time.Hour, "orders=#"))...)
	guest.expect("ready")
	short := i.token("carol", 3*time.Second, "orders=#")
	s := g.stream("/v1/sse?exchange=orders", bearer(short)...)
	s.expect("ready")
	if f := s.expect("bye"); f["code"] != float64(4401) || f["reason"] != "token_expired" {
		t.Errorf("bye %v", f)
	}
	if f := guest.expect("bye"); f["reason"] != "subscription_expired" {
		t.Errorf("the guest got %v", f)
	}
	refusal{method: "GET", path: "/v1/sse?exchange=orders", header: append(bearer(short), "Accept", "text/event-stream"), status: 401, code: "unauthorized"}.check(t, g)
}

func TestGuestThatMayNotReadWhatIsBoundIsEnded(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	g.declare("orders", "topic")
	alice := i.token("alice", time.Hour, "orders=#")
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"eu"}]}`, bearer(alice)...)
	narrow := g.stream(sub.Links["sse"], bearer(i.token("bob", time.Hour, "orders=eu"))...)
	wide := g.stream(sub.Links["sse"], bearer(i.token("carol", time.Hour, "orders=#"))...)
	narrow.expect("ready")
	wide.expect("ready")
	g.do("POST", sub.Links["self"]+"/bindings", `{"bindings":[{"exchange":"orders","routing_key":"us"}]}`, bearer(alice)...).subscription(t, 200)
	if f := narrow.expect("bye"); f["code"] != float64(4403) || f["reason"] != "forbidden_binding" {
		t.Errorf("got %v", f)
	}
	wide.expect("bindings")
}

func TestPositionOfAnotherSubjectBringsNobodyBack(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	g.declare("orders", "topic")
	const path = "/v1/sse?exchange=orders&share=false"
	alice := bearer(i.token("alice", time.Hour, "orders=#"))
	first := g.stream(path, alice...)
	id := first.expect("ready")["id"].(string)
	first.close()
	thief := g.stream(path, append(bearer(i.token("bob", time.Hour, "orders=#")), "Last-Event-ID", id)...)
	thief.expect("ready")
	if f := thief.expect("gap"); f["reason"] != "subscription_lost" {
		t.Errorf("gap %v", f)
	}
	if back := g.stream(path, append(alice, "Last-Event-ID", id)...).expect("ready"); back["resumed"] != true {
		t.Errorf("ready %v", back)
	}
}

func TestTokenTightensTheNumberOfSubscriptions(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	one := bearer(i.limited("alice", time.Hour, 1, "orders=#"))
	g.create(`{}`, one...)
	if p := g.do("POST", "/v1/subscriptions", `{}`, one...).problem(t); p.Code != "limit_reached" {
		t.Errorf("got %+v", p)
	}
	if p := g.do("POST", "/v1/subscriptions", `{}`, bearer(i.limited("bob", time.Hour, -1, "orders=#"))...).problem(t); p.Code != "limit_reached" {
		t.Errorf("got %+v", p)
	}
}

func TestCapabilityAttachLetsTheIDSuffice(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use, func(s *setup) { s.options.CapabilityAttach = true })
	g.declare("orders", "topic")
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"#"}]}`, bearer(i.token("alice", time.Hour, "orders=#"))...)
	g.stream(sub.Links["sse"]).expect("ready")
	ws := g.socket(sub.Links["ws"])
	ws.expect("ready")
	ws.send(`{"type":"bind","bindings":[{"exchange":"orders","routing_key":"x"}]}`)
	if p := ws.expect("error")["problem"].(map[string]any); p["code"] != "forbidden" {
		t.Errorf("bind without a token: %v", p)
	}
	refusal{method: "GET", path: sub.Links["self"], status: 401, code: "unauthorized"}.check(t, g)
	refusal{method: "GET", path: "/v1/sse?exchange=orders", status: 401, code: "unauthorized"}.check(t, g)
	refusal{method: "GET", path: sub.Links["sse"], header: bearer("a.b.c"), status: 401, code: "unauthorized"}.check(t, g)
}

// TestSharedStreamsNeedGrantsAlsoWhereTheIDSuffices renews one: it has no id.
func TestSharedStreamsNeedGrantsAlsoWhereTheIDSuffices(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use, func(s *setup) { s.options.CapabilityAttach = true })
	g.declare("orders", "topic")
	shared := g.socket("/v1/ws?exchange=orders", bearer(i.token("alice", time.Hour, "orders=#"))...)
	shared.expect("ready")
	shared.send(`{"type":"auth","token":"` + i.token("alice", time.Hour) + `"}`)
	if p := shared.expect("error")["problem"].(map[string]any); p["code"] != "forbidden_binding" {
		t.Errorf("a token that grants nothing: %v", p)
	}
	shared.send(`{"type":"auth","token":"` + i.token("alice", time.Hour, "orders=#") + `"}`)
	shared.expect("ok")
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"#"}]}`, bearer(i.token("alice", time.Hour, "orders=#"))...)
	guest := g.socket(sub.Links["ws"], bearer(i.token("bob", time.Hour))...)
	guest.expect("ready")
	guest.send(`{"type":"auth","token":"` + i.token("bob", time.Hour) + `"}`)
	guest.expect("ok")
}

// countingVerifier counts the signatures that are checked.
type countingVerifier struct {
	api.Verifier

	asked atomic.Int64
}

func (v *countingVerifier) Verify(ctx context.Context, token identity.Token) (identity.Identity, error) {
	v.asked.Add(1)
	return v.Verifier.Verify(ctx, token)
}

func TestBadTokensCountAgainstTheAddress(t *testing.T) {
	i := newIssuer(t)
	verifier := &countingVerifier{}
	g := newGateway(t, i.use, func(s *setup) {
		verifier.Verifier = s.options.Verifier
		s.options.Verifier = verifier
		s.bounds.RequestRate, s.bounds.RequestBurst = 0.01, 3
	})
	known := bearer(i.token("alice", time.Hour))
	if a := g.do("GET", "/v1/exchanges", "", known...); a.status != http.StatusOK {
		t.Fatalf("a good token: %s", a.body)
	}
	for range 3 {
		refusal{method: "GET", path: "/v1/exchanges", header: bearer("a.b.c"), status: 401, code: "unauthorized"}.check(t, g)
	}
	asked := verifier.asked.Load()
	for range 5 {
		refusal{method: "GET", path: "/v1/exchanges", header: bearer("a.b.c"), status: 429, code: "rate_limited"}.check(t, g)
		refusal{method: "GET", path: "/v1/exchanges", header: bearer(i.token("bob", time.Hour)), status: 429, code: "rate_limited"}.check(t, g)
	}
	if n := verifier.asked.Load() - asked; n > 0 {
		t.Errorf("%d signatures were checked for an address that is over its rate", n)
	}
	if a := g.do("GET", "/v1/exchanges", "", known...); a.status != http.StatusOK {
		t.Errorf("a token that was good before suffers: %s", a.body)
	}
}

var _ api.Verifier = (*identity.Verifier)(nil)

func TestChangeThatFailsExpelsNoGuest(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	g.declare("orders", "topic")
	alice := bearer(i.token("alice", time.Hour, "*=#"))
	sub := g.create(`{"bindings":[{"exchange":"orders","routing_key":"a"}]}`, alice...)
	guest := g.stream(sub.Links["sse"], bearer(i.token("bob", time.Hour, "orders=a"))...)
	guest.expect("ready")
	answer := g.do("POST", sub.Links["self"]+"/bindings", `{"bindings":[{"exchange":"nowhere","routing_key":"us"}]}`, alice...)
	if p := answer.problem(t); p.Code != "exchange_not_found" {
		t.Errorf("got %+v", p)
	}
	g.publish("1")
	guest.expect("message")
}

func TestOwnersStreamEndsWithItsTokenAndNotWithTheSubscription(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	g.declare("orders", "topic")
	s := g.socket("/v1/ws?exchange=orders&share=false", bearer(i.token("alice", 3*time.Second, "orders=#"))...)
	s.expect("ready")
	s.expectBye(4401, "token_expired")
}
