package identity_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/warren-gateway/warren/api/identity"
)

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// hostile is a token that must not get past, and why it does not.
type hostile struct {
	name   string
	token  identity.Token
	reason identity.Reason
}

// forge makes tokens by the key "ed" that are good but for what the test says.
type forge struct{ tb testing.TB }

var goodClaims = map[string]any{"aud": "warren", "iss": "https://issuer.example"}

func (f forge) with(header, claims map[string]any) identity.Token {
	f.tb.Helper()
	all := maps.Clone(goodClaims)
	maps.Copy(all, claims)
	return sign(f.tb, jwt.SigningMethodEdDSA, testKeys().ed, header, all)
}

func (f forge) claim(name string, value any) identity.Token {
	f.tb.Helper()
	return f.with(nil, map[string]any{name: value})
}

func (f forge) header(name string, value any) identity.Token {
	f.tb.Helper()
	return f.with(map[string]any{name: value}, nil)
}

func (f forge) bind(grants ...any) identity.Token {
	f.tb.Helper()
	return f.claim("warren", map[string]any{"bind": grants})
}

func (f forge) shapes() []hostile {
	good := string(f.with(nil, nil))
	parts := strings.Split(good, ".")
	return []hostile{
		{"nothing", "", identity.ReasonMissing},
		{"noise", "hello", identity.ReasonMalformed},
		{"two parts", identity.Token(parts[0] + "." + parts[1]), identity.ReasonMalformed},
		{"four parts", identity.Token(good + ".x"), identity.ReasonMalformed},
		{"five parts, as if encrypted", identity.Token(good + ".x.y"), identity.ReasonMalformed},
		{"a space in front", identity.Token(" " + good), identity.ReasonMalformed},
		{"a line's end", identity.Token(good + "\n"), identity.ReasonMalformed},
		{"padding", identity.Token(good + "="), identity.ReasonMalformed},
		{"standard base64", identity.Token(parts[0] + "+/." + parts[1] + "." + parts[2]), identity.ReasonMalformed},
		{"huge", identity.Token(good + strings.Repeat("A", identity.MaxTokenBytes)), identity.ReasonMalformed},
		{"huge by its claims", f.claim("pad", strings.Repeat("A", identity.MaxTokenBytes)), identity.ReasonMalformed},
		{"a header that is no JSON", identity.Token(b64("{") + "." + parts[1] + "." + parts[2]), identity.ReasonMalformed},
		{"claims that are no object", identity.Token(parts[0] + "." + b64("[]") + "." + parts[2]), identity.ReasonMalformed},
		{"claims that are null", identity.Token(parts[0] + "." + b64("null") + "." + parts[2]), identity.ReasonSignature},
	}
}

func (f forge) signatures() []hostile {
	t, keys, claims := f.tb, testKeys(), goodClaims
	parts := strings.Split(string(f.with(nil, nil)), ".")
	rsaPEM := publicPEM(t, keys.rsa)
	return []hostile{
		{"forged claims", identity.Token(parts[0] + "." + b64(`{"sub":"root","exp":99999999999}`) + "." + parts[2]), identity.ReasonSignature},
		{"no signature", identity.Token(parts[0] + "." + parts[1] + "."), identity.ReasonSignature},
		{"a bit of the signature", identity.Token(parts[0] + "." + parts[1] + "." + flip(parts[2])), identity.ReasonSignature},
		{"another signature of the key", identity.Token(parts[0] + "." + parts[1] + "." + strings.Split(string(f.claim("jti", "2")), ".")[2]), identity.ReasonSignature},
		{"another key", sign(t, jwt.SigningMethodRS256, keys.otherRSA, nil, claims), identity.ReasonSignature},
		{"another key by the right name", sign(t, jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "rsa"}, claims), identity.ReasonSignature},
		{"none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims), identity.ReasonSignature},
		{"nOnE", identity.Token(b64(`{"alg":"nOnE"}`) + "." + parts[1] + "."), identity.ReasonSignature},
		{"no method", identity.Token(b64(`{"typ":"JWT"}`) + "." + parts[1] + "." + parts[2]), identity.ReasonSignature},
		{"ALG instead of alg", identity.Token(b64(`{"ALG":"EdDSA"}`) + "." + parts[1] + "." + parts[2]), identity.ReasonSignature},
		{"a method that is a number", identity.Token(b64(`{"alg":1}`) + "." + parts[1] + "." + parts[2]), identity.ReasonSignature},
		{"HS256 with the public PEM", sign(t, jwt.SigningMethodHS256, rsaPEM, nil, claims), identity.ReasonSignature},
		{"HS256 with the public PEM, trimmed", sign(t, jwt.SigningMethodHS256, bytes.TrimSpace(rsaPEM), map[string]any{"kid": "rsa"}, claims), identity.ReasonSignature},
		{"HS256 with the Ed25519 key", sign(t, jwt.SigningMethodHS256, []byte(keys.ed[32:]), map[string]any{"kid": "ed"}, claims), identity.ReasonSignature},
		{"HS256 with nothing", sign(t, jwt.SigningMethodHS256, []byte{}, nil, claims), identity.ReasonSignature},
		{"RS512", sign(t, jwt.SigningMethodRS512, keys.rsa, nil, claims), identity.ReasonSignature},
		{"PS256", sign(t, jwt.SigningMethodPS256, keys.rsa, nil, claims), identity.ReasonSignature},
		{"ES384", sign(t, jwt.SigningMethodES384, keys.ec384, nil, claims), identity.ReasonSignature},
		{"the EC key's name over an RSA signature", sign(t, jwt.SigningMethodRS256, keys.rsa, map[string]any{"kid": "ec"}, claims), identity.ReasonUnknownKey},
	}
}

func (f forge) headers() []hostile {
	t, keys, claims := f.tb, testKeys(), goodClaims
	return []hostile{
		{"an unknown key", f.header("kid", "other"), identity.ReasonUnknownKey},
		{"a path as the key", f.header("kid", "../../../../dev/null"), identity.ReasonUnknownKey},
		{"SQL as the key", f.header("kid", "ed' OR '1'='1"), identity.ReasonUnknownKey},
		{"the key in another case", f.header("kid", "ED"), identity.ReasonUnknownKey},
		{"the key and a NUL", f.header("kid", "ed\x00"), identity.ReasonUnknownKey},
		{"an empty key", f.header("kid", ""), identity.ReasonMalformed},
		{"a number as the key", f.header("kid", 1), identity.ReasonMalformed},
		{"a list of keys", f.header("kid", []string{"ed"}), identity.ReasonMalformed},
		{"a long key", f.header("kid", strings.Repeat("k", 1000)), identity.ReasonMalformed},
		{"a key of its own in the header", sign(t, jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"jwk": jwk(t, &keys.otherRSA.PublicKey, nil)}, claims), identity.ReasonSignature},
		{"a key of its own by URL", sign(t, jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}, claims), identity.ReasonSignature},
		{"a certificate of its own", sign(t, jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"x5c": []string{"AAAA"}}, claims), identity.ReasonSignature},
		{"a critical extension", f.header("crit", []string{"exp"}), identity.ReasonMalformed},
		{"a logout token", f.header("typ", "logout+jwt"), identity.ReasonMalformed},
		{"a type that is a number", f.header("typ", 1), identity.ReasonMalformed},
	}
}

func (f forge) times() []hostile {
	now := time.Now()
	return []hostile{
		{"expired", f.claim("exp", now.Add(-time.Hour).Unix()), identity.ReasonExpired},
		{"expired within the leeway", f.claim("exp", now.Add(-time.Second).Unix()), identity.ReasonExpired},
		{"expired in 1970", f.claim("exp", 0), identity.ReasonExpired},
		{"no exp", f.claim("exp", nil), identity.ReasonClaims},
		{"exp in another case", f.with(nil, map[string]any{"exp": nil, "EXP": now.Add(time.Hour).Unix()}), identity.ReasonClaims},
		{"exp is null", f.with(nil, map[string]any{"exp": json.RawMessage("null")}), identity.ReasonClaims},
		{"exp is a string", f.claim("exp", "99999999999"), identity.ReasonClaims},
		{"exp is beyond all calendars", f.claim("exp", 1e30), identity.ReasonClaims},
		{"exp is negative", f.claim("exp", -1), identity.ReasonClaims},
		{"not yet valid", f.claim("nbf", now.Add(time.Hour).Unix()), identity.ReasonNotYetValid},
		{"nbf is a string", f.claim("nbf", "0"), identity.ReasonClaims},
		{"issued in the future", f.claim("iat", now.Add(time.Hour).Unix()), identity.ReasonNotYetValid},
	}
}

func (f forge) names() []hostile {
	return []hostile{
		{"no sub", f.claim("sub", nil), identity.ReasonClaims},
		{"an empty sub", f.claim("sub", ""), identity.ReasonClaims},
		{"SUB instead of sub", f.with(nil, map[string]any{"sub": nil, "SUB": "root"}), identity.ReasonClaims},
		{"sub is a number", f.claim("sub", 7), identity.ReasonClaims},
		{"sub is long", f.claim("sub", strings.Repeat("s", 256)), identity.ReasonClaims},
		{"sub with a line's end", f.claim("sub", "ada\nlevel=ERROR"), identity.ReasonClaims},
		{"another audience", f.claim("aud", "other"), identity.ReasonAudience},
		{"other audiences", f.claim("aud", []string{"other", "warren2"}), identity.ReasonAudience},
		{"no audience", f.claim("aud", nil), identity.ReasonClaims},
		{"an empty audience", f.claim("aud", ""), identity.ReasonClaims},
		{"aud is an object", f.claim("aud", map[string]any{"warren": true}), identity.ReasonClaims},
		{"another issuer", f.claim("iss", "https://issuer.example.evil"), identity.ReasonIssuer},
		{"the issuer and a slash", f.claim("iss", "https://issuer.example/"), identity.ReasonIssuer},
		{"no issuer", f.claim("iss", nil), identity.ReasonClaims},
	}
}

func (f forge) grants() []hostile {
	return []hostile{
		{"warren is a string", f.claim("warren", "#"), identity.ReasonClaims},
		{"warren is a list", f.claim("warren", []any{}), identity.ReasonClaims},
		{"bind is an object", f.claim("warren", map[string]any{"bind": map[string]any{"exchange": "*", "routing_key": "#"}}), identity.ReasonClaims},
		{"a grant is a string", f.claim("warren", map[string]any{"bind": []any{"*"}}), identity.ReasonClaims},
		{"a grant is null", f.claim("warren", map[string]any{"bind": []any{json.RawMessage("null")}}), identity.ReasonClaims},
		{"a grant without a pattern", f.bind(map[string]any{"exchange": "orders"}), identity.ReasonClaims},
		{"a grant without an exchange", f.bind(map[string]any{"routing_key": "#"}), identity.ReasonClaims},
		{"a grant in another case", f.bind(map[string]any{"Exchange": "*", "Routing_Key": "#"}), identity.ReasonClaims},
		{"a grant with an empty glob", f.bind(map[string]any{"exchange": "", "routing_key": "#"}), identity.ReasonClaims},
		{"a grant with a long pattern", f.bind(map[string]any{"exchange": "*", "routing_key": strings.Repeat("x", 256)}), identity.ReasonClaims},
		{"a grant with a number", f.bind(map[string]any{"exchange": 1, "routing_key": "#"}), identity.ReasonClaims},
		{"one grant too many", f.bind(manyGrants(identity.MaxGrants + 1)...), identity.ReasonClaims},
		{"max_subscriptions is a string", f.claim("warren", map[string]any{"max_subscriptions": "5"}), identity.ReasonClaims},
		{"max_subscriptions is negative", f.claim("warren", map[string]any{"max_subscriptions": -1}), identity.ReasonClaims},
		{"max_subscriptions is a fraction", f.claim("warren", map[string]any{"max_subscriptions": 0.5}), identity.ReasonClaims},
		{"max_subscriptions is huge", f.claim("warren", map[string]any{"max_subscriptions": json.RawMessage("1e99")}), identity.ReasonClaims},
	}
}

// TestHostileTokensAreRefused has one verifier with an RSA, an EC and an Ed25519 key, an audience and an issuer, and what should not get
// past it. Whatever the reason, no part of the token is in the error.
func TestHostileTokensAreRefused(t *testing.T) {
	keys := testKeys()
	file := jwks(t, jwk(t, &keys.rsa.PublicKey, map[string]any{"kid": "rsa"}), jwk(t, &keys.ec.PublicKey, map[string]any{"kid": "ec"}),
		jwk(t, keys.ed.Public(), map[string]any{"kid": "ed"}))
	v := verifier(t, identity.VerifierOptions{KeyFile: writeFile(t, file), Audience: "warren", Issuer: "https://issuer.example"})
	f := forge{t}
	if id, err := v.Verify(t.Context(), f.with(nil, nil)); err != nil || id.Subject != "ada" {
		t.Fatalf("the good token: got %+v, %v", id, err)
	}
	for _, c := range slices.Concat(f.shapes(), f.signatures(), f.headers(), f.times(), f.names(), f.grants()) {
		t.Run(c.name, func(t *testing.T) {
			id, err := v.Verify(t.Context(), c.token)
			checkReason(t, err, c.reason)
			if id.Subject != "" || id.Anonymous || id.Grants != nil {
				t.Errorf("an identity comes with the refusal: %+v", id)
			}
			refused := refusal(t, err)
			if refused.Temporary() {
				t.Error("the refusal is called temporary")
			}
			checkSilence(t, c.token, refused.Error()+refused.Challenge())
		})
	}
}

func manyGrants(n int) []any {
	grants := make([]any, n)
	for i := range grants {
		grants[i] = map[string]any{"exchange": "*", "routing_key": "#"}
	}
	return grants
}

func flip(signature string) string {
	if signature[0] == 'A' {
		return "B" + signature[1:]
	}
	return "A" + signature[1:]
}

// checkSilence looks for any eight characters of the token's parts, as they are and decoded.
func checkSilence(tb testing.TB, token identity.Token, text string) {
	tb.Helper()
	for part := range strings.SplitSeq(string(token), ".") {
		if len(part) >= 8 && strings.Contains(text, part) {
			tb.Errorf("a part of the token is in %q", text)
		}
	}
	for _, secret := range []string{"root", "level=ERROR", "dev/null", "OR '1'", "evil", "issuer.example"} {
		if strings.Contains(text, secret) {
			tb.Errorf("%q is in %q", secret, text)
		}
	}
}

func TestGoodTokensGrantWhatTheySay(t *testing.T) {
	keys := testKeys()
	v := verifier(t, identity.VerifierOptions{KeyFile: writeFile(t, publicPEM(t, keys.ed))})
	now := time.Now().Truncate(time.Second)
	for _, c := range []struct {
		name   string
		header map[string]any
		claims map[string]any
		grants string
		limit  int
	}{
		{name: "no claim"},
		{name: "a null claim", claims: map[string]any{"warren": json.RawMessage("null")}},
		{name: "an empty claim", claims: map[string]any{"warren": map[string]any{}}},
		{name: "nulls within", claims: map[string]any{"warren": json.RawMessage(`{"bind":null,"max_subscriptions":null}`)}},
		{name: "the claim in another case", claims: map[string]any{"WARREN": map[string]any{"bind": manyGrants(1)}}},
		{
			name: "grants and later members",
			claims: map[string]any{"warren": json.RawMessage(`{"later":[1],"bind":[{"exchange":"orders","routing_key":"eu.#","note":{}},` +
				`{"exchange":"news.*","routing_key":"#"}],"max_subscriptions":5}`)},
			grants: "orders=eu.# news.*=#", limit: 5,
		},
		{name: "a whole number written as a fraction", claims: map[string]any{"warren": json.RawMessage(`{"max_subscriptions":2.0}`)}, limit: 2},
		{name: "no subscription at all", claims: map[string]any{"warren": json.RawMessage(`{"max_subscriptions":0}`)}, limit: -1},
		{name: "RFC 9068", header: map[string]any{"typ": "application/at+jwt"}},
		{name: "no type", header: map[string]any{"typ": nil}},
		{name: "nbf and iat a little ahead", claims: map[string]any{"nbf": now.Add(20 * time.Second).Unix(), "iat": now.Add(20 * time.Second).Unix()}},
		{name: "a fraction of a second", claims: map[string]any{"iat": json.RawMessage(fmt.Sprintf("%d.75", now.Unix()))}},
		{name: "any audience and issuer", claims: map[string]any{"aud": []string{"a", "b"}, "iss": "c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodEdDSA, keys.ed, c.header, c.claims))
			if err != nil {
				t.Fatal(err)
			}
			specs := make([]string, 0, len(id.Grants))
			for _, grant := range id.Grants {
				specs = append(specs, grant.Exchange.String()+"="+grant.RoutingKey.String())
			}
			if got := strings.Join(specs, " "); got != c.grants || id.MaxSubscriptions != c.limit {
				t.Errorf("got the grants %q and the limit %d", got, id.MaxSubscriptions)
			}
			if id.Subject != "ada" || id.Caller() != "sub:ada" || !id.Expires.After(now.Add(59*time.Minute)) {
				t.Errorf("got %+v", id)
			}
		})
	}
}

func TestATokenIsGoodUpToItsEndAndNoLonger(t *testing.T) {
	keys := testKeys()
	file := writeFile(t, publicPEM(t, keys.ed))
	synctest.Test(t, func(t *testing.T) {
		v := verifier(t, identity.VerifierOptions{KeyFile: file})
		end := time.Now().Add(time.Minute)
		token := sign(t, jwt.SigningMethodEdDSA, keys.ed, nil, map[string]any{"exp": end.Unix(), "nbf": time.Now().Add(31 * time.Second).Unix()})
		_, err := v.Verify(t.Context(), token)
		checkReason(t, err, identity.ReasonNotYetValid)
		<-time.After(time.Second) // Within the leeway of 30 s.
		id, err := v.Verify(t.Context(), token)
		if err != nil || !id.Expires.Equal(end) {
			t.Fatalf("got %+v, %v", id, err)
		}
		<-time.After(time.Until(end) - 1)
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("in the last nanosecond: %v", err)
		}
		<-time.After(1)
		_, err = v.Verify(t.Context(), token)
		checkReason(t, err, identity.ReasonExpired)
	})
}

func TestNoLeewayCanBeAskedFor(t *testing.T) {
	keys := testKeys()
	v := verifier(t, identity.VerifierOptions{KeyFile: writeFile(t, publicPEM(t, keys.ed)), Leeway: -1})
	_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodEdDSA, keys.ed, nil, map[string]any{"nbf": time.Now().Add(10 * time.Second).Unix()}))
	checkReason(t, err, identity.ReasonNotYetValid)
}

func TestATokenWithoutAKeysNameIsTriedWithAFewKeysOnly(t *testing.T) {
	keys := testKeys()
	set := make([]json.RawMessage, 9)
	for i := range set {
		set[i] = jwk(t, &keys.ec.PublicKey, map[string]any{"kid": fmt.Sprint(i)})
	}
	v := verifier(t, identity.VerifierOptions{KeyFile: writeFile(t, jwks(t, set...))})
	_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, keys.ec, nil, nil))
	checkReason(t, err, identity.ReasonUnknownKey)
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, keys.ec, map[string]any{"kid": "3"}, nil)); err != nil {
		t.Error(err)
	}
}

func TestHS256AcceptsNothingElse(t *testing.T) {
	keys := testKeys()
	v := verifier(t, identity.VerifierOptions{KeyFile: writeFile(t, keys.secret), HS256: true})
	for _, token := range []identity.Token{
		sign(t, jwt.SigningMethodRS256, keys.rsa, nil, nil), sign(t, jwt.SigningMethodHS512, keys.secret, nil, nil),
		sign(t, jwt.SigningMethodHS256, []byte("another secret, of the same size"), nil, nil),
		sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil),
	} {
		_, err := v.Verify(t.Context(), token)
		checkReason(t, err, identity.ReasonSignature)
	}
}

func TestChallengesAreThoseOfRFC6750(t *testing.T) {
	for _, reason := range identity.Reasons() {
		challenge := (&identity.Error{Reason: reason, Detail: "a \"b\" \\ \r\n ü"}).Challenge()
		want := `Bearer realm="warren", error="invalid_token", error_description="a 'b' '  "`
		switch reason {
		case identity.ReasonMissing:
			want = `Bearer realm="warren"`
		case identity.ReasonAmbiguous:
			want = strings.Replace(want, "invalid_token", "invalid_request", 1)
		default:
		}
		if challenge != want {
			t.Errorf("%s: got %s", reason, challenge)
		}
	}
}

func TestDoubtfulConfigurationsAreLogged(t *testing.T) {
	var log bytes.Buffer
	file := writeFile(t, privatePEM(t, testKeys().ed))
	verifier(t, identity.VerifierOptions{KeyFile: file, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, part := range []string{"no audience", "private key"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in %s", part, log.String())
		}
	}
	data, err := os.ReadFile(file)
	if err != nil || strings.Contains(log.String(), string(data[30:60])) {
		t.Errorf("the key is in the log (%v)", err)
	}
}

// FuzzVerify feeds raw tokens: whatever they are, they are refused, by an Error.
func FuzzVerify(f *testing.F) {
	keys := testKeys()
	v := verifier(f, identity.VerifierOptions{KeyFile: writeFile(f, publicPEM(f, keys.ed))})
	f.Add(string(sign(f, jwt.SigningMethodRS256, keys.rsa, nil, nil)))
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{"sub":"root"}`) + ".")
	f.Add(b64(`{"alg":"EdDSA","kid":{}}`) + "." + b64(`null`) + "." + strings.Repeat("A", 86))
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := v.Verify(t.Context(), identity.Token(token)); err == nil || id.Subject != "" {
			t.Fatalf("accepted: %+v", id)
		} else if _, ok := errors.AsType[*identity.Error](err); !ok {
			t.Fatalf("not an Error: %v", err)
		}
	})
}

// FuzzClaims signs whatever claims it is fed, so that they get all the way.
func FuzzClaims(f *testing.F) {
	keys := testKeys()
	v := verifier(f, identity.VerifierOptions{KeyFile: writeFile(f, keys.secret), HS256: true})
	const rest = `"sub":"ada","exp":99999999999`
	for _, claims := range []string{
		`{` + rest + `}`, `{` + rest + `,"warren":{"bind":[{"exchange":"a*","routing_key":"b.#"}],"max_subscriptions":3}}`,
		`{` + rest + `,"warren":null}`, `{` + rest + `,"aud":["x"],"nbf":1.5,"iat":0}`, `null`, `[]`, `{"exp":1e400}`,
		`{` + rest + `,"warren":{"bind":[null]}}`, `{` + rest + `,"sub":"b","warren":{"bind":[{}]}}`,
	} {
		f.Add(claims)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		text := b64(`{"alg":"HS256"}`) + "." + b64(claims)
		signature, err := jwt.SigningMethodHS256.Sign(text, keys.secret)
		if err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(t.Context(), identity.Token(text+"."+base64.RawURLEncoding.EncodeToString(signature)))
		if err != nil {
			if _, ok := errors.AsType[*identity.Error](err); !ok || id.Subject != "" || id.Grants != nil {
				t.Fatalf("got %+v, %v", id, err)
			}
			return
		}
		if id.Subject == "" || id.Anonymous || !id.Expires.After(time.Now()) || len(id.Grants) > identity.MaxGrants || !json.Valid([]byte(claims)) {
			t.Fatalf("got %+v of %q", id, claims)
		}
		if _, err := id.Expires.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
		for _, grant := range id.Grants {
			if grant.Exchange.String() == "" {
				t.Fatalf("got the grant %v of %q", grant, claims)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	keys := testKeys()
	file := append(append(publicPEM(b, keys.rsa), publicPEM(b, keys.ec)...), publicPEM(b, keys.ed)...)
	v := verifier(b, identity.VerifierOptions{KeyFile: writeFile(b, file)})
	for _, c := range []struct {
		method jwt.SigningMethod
		key    any
	}{{jwt.SigningMethodRS256, keys.rsa}, {jwt.SigningMethodES256, keys.ec}, {jwt.SigningMethodEdDSA, keys.ed}} {
		token := sign(b, c.method, c.key, nil, map[string]any{"warren": map[string]any{"bind": manyGrants(3)}})
		b.Run(c.method.Alg(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
