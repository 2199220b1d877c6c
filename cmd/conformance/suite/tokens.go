package suite

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func init() {
	register(
		Check{
			Name: "ask with tokens of every kind", Needs: Gateway | Patient, Run: tokensAll,
			Of: []string{"P-25", "P-169", "P-194", "P-195", "P-196", "P-197", "P-198", "P-199", "P-200"},
		},
	)
}

// issuer signs tokens that a gateway of the check takes.
type issuer struct {
	*T
	key ed25519.PrivateKey
	x   string // an exchange of type topic
	y   string // one of type fanout
}

// grant is one entry of the claim.
type grant struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// token signs a token.
func (i *issuer) token(sub string, good time.Duration, grants ...grant) string {
	claims := jwt.MapClaims{"exp": jwt.NewNumericDate(time.Now().Add(good)), "warren": object{"bind": grants}}
	if sub != "" {
		claims["sub"] = sub
	}
	return i.sign(claims, i.key)
}

func (i *issuer) sign(claims jwt.MapClaims, key ed25519.PrivateKey) string {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(key)
	i.Must(err)
	return signed
}

// as makes a request with a token.
func (i *issuer) as(token string, c Call) *Reply {
	if c.Header == nil {
		c.Header = header()
	}
	if token != "" {
		c.Header.Set("Authorization", "Bearer "+token)
	}
	return i.Do(c)
}

func (i *issuer) create(token string, bindings []binding) *Reply {
	return i.as(token, Call{Method: http.MethodPost, Path: "/v1/subscriptions", Body: object{"bindings": bindings}})
}

func tokensAll(t *T) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	t.Must(err)
	der, err := x509.MarshalPKIXPublicKey(public)
	t.Must(err)
	x, y := t.Name(), t.Name()
	g := t.Gateway(nil, "--jwt-key", t.pem("PUBLIC KEY", der), "--exchange", x+"=topic", "--exchange", y+"=fanout")
	i := &issuer{g, key, x, y}
	if t.options.AMQPURL == "" {
		publisher := i.token("publisher", time.Hour)
		for name, kind := range map[string]string{x: "topic", y: "fanout"} {
			if r := i.as(publisher, Call{Method: http.MethodPut, Path: exchangePath(name), Body: object{"type": kind}}); r.Status != http.StatusCreated {
				t.Fatalf("declaring: %s", r)
			}
		}
	} else {
		t.Must(t.source.Declare(t, x, "topic"))
		t.Must(t.source.Declare(t, y, "fanout"))
	}
	i.tokensBad()
	i.tokensGrants()
	i.tokensOwners()
	i.tokensExpiry()
	i.tokensFirst()
}

func (i *issuer) tokensBad() {
	_, other, err := ed25519.GenerateKey(rand.Reader)
	i.Must(err)
	all := grant{"*", "#"}
	soon := jwt.NewNumericDate(time.Now().Add(time.Hour))
	for what, token := range map[string]string{
		"none": "", "no JWT": "nonsense", "expired": i.token("a", -time.Minute, all), "without sub": i.token("", time.Hour, all),
		"of another key": i.sign(jwt.MapClaims{"sub": "a", "exp": soon}, other), "without exp": i.sign(jwt.MapClaims{"sub": "a"}, i.key),
	} {
		r := i.create(token, on(i.x, "#"))
		scheme := r.Header.Get("WWW-Authenticate")
		i.Is("P-169", strings.HasPrefix(scheme, "Bearer") && (token == "" || strings.Contains(scheme, "invalid_token")), "%s: %s", what, scheme)
		q := query("exchange", i.x, "access_token", token)
		if token == "" {
			q = query("exchange", i.x)
		}
		sse := i.Get("/v1/sse"+q, "Accept", "text/event-stream")
		i.Is("P-194", r.Refused(401, "unauthorized", "") && sse.Refused(401, "unauthorized", ""), "%s: %s, SSE %s", what, r, sse)
		if token != "" {
			ws := i.WS("/v1/ws"+q, nil)
			bye := ws.Next()
			code, _ := ws.Closed()
			i.Is("P-194", num(bye.object, "code") == 4401 && code == 4401, "none, no JWT, expired, without sub or exp, of another key: 401 unauthorized; WebSocket %s, closed with %d", bye, code)
		}
	}
}

func (i *issuer) tokensGrants() {
	token := i.token("grants", time.Hour, grant{i.x, "linux.#"}, grant{i.x, "*.ok"}, grant{i.y, "a.*"})
	for _, c := range []struct {
		id   string
		bind []binding
		ok   bool
	}{
		{"P-195", on(i.x, "linux.#"), true},
		{"P-195", on(i.x, "linux.*.ok", i.x, "linux"), true},
		{"P-195", on(i.x, "mac.ok"), true},
		{"P-195", on(i.x, "#"), false},
		{"P-195", on(i.x, "*.*"), false},
		{"P-195", on(i.x, "linux.a", i.x, "mac.bad"), false},
		{"P-195", on(i.x+"x", "linux.a"), false},
		{"P-196", on(i.y, "a.b"), false},
	} {
		r := i.create(token, c.bind)
		good := c.ok && r.Status == http.StatusCreated || !c.ok && r.Refused(403, "forbidden_binding", "")
		i.Is(c.id, good, "granted linux.#, *.ok (topic) and a.* (fanout); asked for %s: %s", c.bind[len(c.bind)-1].RoutingKey, r)
	}
	whole := i.token("grants", time.Hour, grant{i.y, "#"})
	r := i.create(whole, on(i.y, "a.b"))
	i.Is("P-196", r.Status == http.StatusCreated, "on a fanout exchange a.* grants nothing, # does: %s", r)
}

func (i *issuer) tokensOwners() {
	all := grant{"*", "#"}
	alice, bob := i.token("alice", time.Hour, all), i.token("bob", time.Hour, all)
	made := i.create(alice, on(i.x, "#"))
	path := made.Header.Get("Location")
	tried := 0
	for _, c := range []Call{
		{Method: "GET"},
		{Method: "DELETE"},
		{Method: "PATCH", Body: object{"linger_seconds": 5}},
		{Method: "POST", Path: "/pause"},
		{Method: "POST", Path: "/bindings", Body: object{"bindings": on(i.x, "a")}},
	} {
		c.Path = path + c.Path
		r := i.as(bob, c)
		tried++
		i.Is("P-197", r.Refused(403, "forbidden", ""), "%d calls of another sub, the last: %s", tried, r)
	}
	own, others := i.as(alice, Call{Method: "GET", Path: "/v1/subscriptions"}), i.as(bob, Call{Method: "GET", Path: "/v1/subscriptions"})
	mine := list(own.Body, "subscriptions")
	i.Is("P-25", own.Status == 200 && len(mine) == 1 && str(mine[0], "id") == str(made.Body, "id") && len(list(others.Body, "subscriptions")) == 0,
		"anonymous: 403 forbidden; the owner's list has %d, another's %d", len(mine), len(list(others.Body, "subscriptions")))
}

func (i *issuer) tokensExpiry() {
	all := grant{"*", "#"}
	q := query("exchange", i.x)
	short := i.SSE("/v1/sse"+q, header("Authorization", "Bearer "+i.token("expiry", 8*time.Second, all)))
	short.Ready()
	longer := i.WS("/v1/ws"+q, header("Authorization", "Bearer "+i.token("expiry", 8*time.Second, all)))
	longer.Ready()
	ok := longer.Ask(object{"type": "auth", "ref": "1", "token": i.token("expiry", time.Hour, all)})
	less := longer.Ask(object{"type": "auth", "token": i.token("expiry", time.Hour, grant{i.x, "a"})})
	bye := short.Next()
	i.Is("P-198", bye.Type() == "bye" && num(bye.object, "code") == 4401 && str(bye.object, "reason") == "token_expired" && bye.object["reconnect"] == false, "after its 8 s: %s", bye)
	alive := longer.Ask(object{"type": "ping"})
	i.Is("P-199", ok.Type() == "ok" && str(less.object, "problem", "code") == "forbidden_binding" && alive.Type() == "pong",
		"newer token: %s; one that grants less: %s; after the first has expired ping gets %s", ok.Type(), str(less.object, "problem", "code"), alive.Type())
}

func (i *issuer) tokensFirst() {
	q := query("exchange", i.x)
	good := i.WS("/v1/ws"+q, nil)
	good.Send(object{"type": "auth", "ref": "1", "token": i.token("first", time.Hour, grant{"*", "#"})})
	one, two := good.Next(), good.Next()
	bad := i.WS("/v1/ws"+q, nil)
	bad.Send(object{"type": "ping"})
	silent := i.WS("/v1/ws"+q, nil)
	wrong := bad.Next()
	badCode, _ := bad.Closed()
	nothing := silent.Next()
	code, reason := silent.Closed()
	took := nothing.At.Sub(silent.Opened)
	i.Is("P-200", one.Type() == "ready" && two.Type() == "ok" && str(two.object, "ref") == "1" && num(wrong.object, "code") == 4401 && badCode == 4401 &&
		num(nothing.object, "code") == 4401 && code == 4401 && reason == "unauthorized" && took > 3*time.Second && took < 9*time.Second,
		"auth first: %s, %s; ping first: %s; nothing for %.1f s: %s", one.Type(), two.Type(), wrong, took.Seconds(), nothing)
}
