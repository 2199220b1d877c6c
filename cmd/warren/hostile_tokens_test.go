package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tokenKeys are the issuer's keys, one of each kind that the gateway takes.
type tokenKeys struct {
	public string // file with the public halves, which the gateway and every attacker have
	pem    []byte
	ed     ed25519.PrivateKey
	ec     *ecdsa.PrivateKey
	rsa    *rsa.PrivateKey
}

func newTokenKeys(t *testing.T) *tokenKeys {
	t.Helper()
	k := &tokenKeys{public: filepath.Join(t.TempDir(), "public.pem")}
	var errs [3]error
	_, k.ed, errs[0] = ed25519.GenerateKey(rand.Reader)
	k.ec, errs[1] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.rsa, errs[2] = rsa.GenerateKey(rand.Reader, 2048)
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, public := range []any{k.ed.Public(), k.ec.Public(), k.rsa.Public()} {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		k.pem = append(k.pem, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	if err := os.WriteFile(k.public, k.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

type object = map[string]any

// claimsOf are those of a good token, with others in place of some; nil takes one away.
func claimsOf(sub string, change object, bind ...string) object {
	grants := make([]object, len(bind))
	for i, b := range bind {
		exchange, key, _ := strings.Cut(b, "=")
		grants[i] = object{"exchange": exchange, "routing_key": key}
	}
	c := object{
		"sub": sub, "exp": time.Now().Add(time.Hour).Unix(), "aud": "warren", "iss": "https://id.example.org", "warren": object{"bind": grants},
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// mint signs a good token.
func (k *tokenKeys) mint(t *testing.T, sub string, bind ...string) string {
	t.Helper()
	return k.signed(object{"alg": "EdDSA", "typ": "JWT"}, claimsOf(sub, nil, bind...))
}

func part(v any) string {
	text, ok := v.(string)
	if !ok {
		data, err := json.Marshal(v)
		if err != nil {
			panic(err) // a test's own literal
		}
		text = string(data)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// signed signs with the Ed25519 key, whatever the header says.
func (k *tokenKeys) signed(header, claims any) string {
	text := part(header) + "." + part(claims)
	return text + "." + part(string(ed25519.Sign(k.ed, []byte(text))))
}

func hmacToken(secret []byte, header, claims any) string {
	text := part(header) + "." + part(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + part(string(mac.Sum(nil)))
}

func (k *tokenKeys) ecToken(header, claims any) string {
	text := part(header) + "." + part(claims)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.ec, digest[:])
	if err != nil {
		panic(err) // the system has no randomness
	}
	return text + "." + part(string(r.FillBytes(make([]byte, 32)))+string(s.FillBytes(make([]byte, 32))))
}

func (k *tokenKeys) rsaToken(header, claims any) string {
	text := part(header) + "." + part(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, k.rsa, crypto.SHA256, digest[:])
	if err != nil {
		panic(err) // the key is good
	}
	return text + "." + part(string(signature))
}

// everywhere presents a token in every place that there is.
func (h *hostile) everywhere(token string) string {
	h.t.Helper()
	var got answers
	const query = "?exchange=good"
	got.add(h.request("GET /v1/exchanges", "", "Authorization: Bearer "+token))
	got.add(h.request("GET /v1/exchanges", "", "Cookie: warren_token="+token))
	got.add(h.request("GET /v1/sse"+query+"&access_token="+url.QueryEscape(token), "", "Accept: text/event-stream"))
	got.add(h.request("GET /v1/ws"+query+"&access_token="+url.QueryEscape(token), "", upgradeHeader...))
	got.add(h.firstMessage(query, object{"type": "auth", "token": token}))
	return got.String()
}

// firstMessage opens a WebSocket without a token and sends a message.
func (h *hostile) firstMessage(query string, message any) string {
	h.t.Helper()
	text, ok := message.(string)
	if !ok {
		data, err := json.Marshal(message)
		if err != nil {
			h.t.Fatal(err)
		}
		text = string(data)
	}
	conn := h.dial(0)
	defer func() { _ = conn.Close() }()
	ask := h.fill(requestText("GET /v1/ws"+query, "", upgradeHeader...))
	h.write(conn, ask+wsFrame(wsFinal|wsText, text))
	return answerOf(conn)
}

const refusedEverywhere = "401 unauthorized, 4401 unauthorized"

// mallory's claims are good, but for what is changed.
func mallorys(change object) object { return claimsOf("mallory", change, "good=#") }

func tokenHeader(more object) object {
	h := object{"alg": "EdDSA", "typ": "JWT"}
	maps.Copy(h, more)
	return h
}

// badSignatures are tokens whose claims are good.
func badSignatures(k, strangers *tokenKeys) map[string]string {
	good, head := mallorys, tokenHeader
	strangersJWK := object{"kty": "OKP", "crv": "Ed25519", "x": part(string(strangers.ed.Public().(ed25519.PublicKey)))}
	block, _ := pem.Decode(k.pem)
	now := time.Now().Unix()
	valid := k.signed(head(nil), good(nil))
	parts := strings.Split(valid, ".")
	return map[string]string{
		"garbage":                        "a.b.c",
		"alg none":                       part(object{"alg": "none"}) + "." + part(good(nil)) + ".",
		"alg NoNe":                       part(object{"alg": "NoNe"}) + "." + part(good(nil)) + ".",
		"alg none with a signature":      k.signed(object{"alg": "none"}, good(nil)),
		"signature cut off":              parts[0] + "." + parts[1] + ".",
		"signature of other claims":      parts[0] + "." + part(good(object{"sub": "root"})) + "." + parts[2],
		"signature with bytes behind it": valid + "AAAA",
		"base64 that is not canonical":   valid[:len(valid)-1] + string(valid[len(valid)-1]+1),
		"signed by a stranger":           strangers.signed(head(nil), good(nil)),
		"stranger's key in the header":   strangers.signed(head(object{"jwk": strangersJWK}), good(nil)),
		"HS256 with the public key":      hmacToken(k.pem, object{"alg": "HS256"}, good(nil)),
		"HS256 with the key's DER":       hmacToken(block.Bytes, object{"alg": "HS256"}, good(nil)),
		"HS256 with the key itself":      hmacToken(k.ed.Public().(ed25519.PublicKey), object{"alg": "HS256"}, good(nil)),
		"HS256 with nothing":             hmacToken(nil, object{"alg": "HS256", "kid": "../../../../dev/null"}, good(nil)),
		"Ed25519 called RS256":           k.signed(object{"alg": "RS256"}, good(nil)),
		"ECDSA called EdDSA":             k.ecToken(object{"alg": "EdDSA"}, good(nil)),
		"RSA called ES256":               k.rsaToken(object{"alg": "ES256"}, good(nil)),
		"RS512":                          k.rsaToken(object{"alg": "RS512"}, good(nil)),
		"ES256 of zeros":                 part(object{"alg": "ES256"}) + "." + part(good(nil)) + "." + part(strings.Repeat("\x00", 64)),
		"alg twice":                      k.signed(`{"alg":"EdDSA","alg":"none"}`, good(nil)),
		"alg in a list":                  k.signed(object{"alg": []string{"EdDSA"}}, good(nil)),
		"kid that is an object":          k.signed(head(object{"kid": object{}}), good(nil)),
		"kid of an SQL injection":        k.signed(head(object{"kid": strings.Repeat("' OR 1=1 --", 30)}), good(nil)),
		"an extension that is critical":  k.signed(head(object{"crit": []string{"exp"}, "exp": now}), good(nil)),
		"a token of another type":        k.signed(head(object{"typ": "logout+jwt"}), good(nil)),
		"an encrypted token":             valid + ".AAAA.AAAA",
	}
}

// badClaims are tokens whose signature is good.
func badClaims(k *tokenKeys) map[string]string {
	good, head := mallorys, tokenHeader
	var grants []object
	for i := range 129 {
		grants = append(grants, object{"exchange": fmt.Sprint("e", i), "routing_key": "#"})
	}
	with := func(change object) string { return k.signed(head(nil), good(change)) }
	now := time.Now().Unix()
	return map[string]string{
		"expired a moment ago":           with(object{"exp": now - 1}),
		"expired since 1970":             with(object{"exp": 1}),
		"no expiry":                      with(object{"exp": nil}),
		"expiry that is a string":        with(object{"exp": "99999999999"}),
		"expiry before time began":       with(object{"exp": -1}),
		"expiry beyond all years":        k.signed(head(nil), strings.Replace(`{"sub":"m","aud":"warren","iss":"https://id.example.org","exp":E}`, "E", "1e300", 1)),
		"not valid yet":                  with(object{"nbf": now + 3600}),
		"issued in the future":           with(object{"iat": now + 3600}),
		"no subject":                     with(object{"sub": nil}),
		"empty subject":                  with(object{"sub": ""}),
		"subject that is a number":       with(object{"sub": 7}),
		"subject that forges a log line": with(object{"sub": "a\n{\"level\":\"INFO\"}"}),
		"wrong audience":                 with(object{"aud": "billing"}),
		"audience that only begins so":   with(object{"aud": []string{"warren.example.org", "warrens"}}),
		"no audience":                    with(object{"aud": nil}),
		"wrong issuer":                   with(object{"iss": "https://id.example.org.evil.example"}),
		"no issuer":                      with(object{"iss": nil}),
		"claims that are a list":         k.signed(head(nil), `[]`),
		"claims that are null":           k.signed(head(nil), `null`),
		"grants that are a string":       with(object{"warren": "*"}),
		"grants that nest without end":   k.signed(head(nil), `{"sub":"m","exp":99999999999,"aud":"warren","iss":"https://id.example.org","warren":{"bind":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}}`),
		"more grants than there may be":  with(object{"warren": object{"bind": grants}}),
		"a token of 9,000 bytes":         k.signed(head(object{"x": strings.Repeat("x", 6000)}), good(nil)),
	}
}

func tokenCases(k *tokenKeys) []hostileCase {
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	strangers := &tokenKeys{ed: stranger}
	table := badSignatures(k, strangers)
	maps.Copy(table, badClaims(k))
	good, head := mallorys, tokenHeader
	valid := k.signed(head(nil), good(nil))
	cases := []hostileCase{
		{name: "token: none at all", tokens: true, want: refusedEverywhere, attack: func(h *hostile) string {
			var got answers
			got.add(h.request("GET /v1/exchanges", ""))
			got.add(h.request("GET /v1/sse?exchange=good", "", "Accept: text/event-stream"))
			got.add(h.firstMessage("?exchange=good", object{"type": "ping"}))
			return got.String()
		}},
		{name: "token: keys from the token's own URL", tokens: true, want: refusedEverywhere, attack: func(h *hostile) string {
			return h.withOwnKeySet(func(url string) string {
				return strangers.signed(head(object{"jku": url, "x5u": url, "kid": "x"}), good(nil))
			})
		}},
		{name: "token: good ones are accepted, so that the rest means something", tokens: true, want: "200, ready", attack: func(h *hostile) string {
			var got answers
			for _, token := range []string{valid, k.ecToken(object{"alg": "ES256"}, good(nil)), k.rsaToken(object{"alg": "RS256"}, good(nil))} {
				got.add(h.everywhere(token))
			}
			return got.String()
		}},
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		token := table[name]
		cases = append(cases, hostileCase{name: "token: " + name, tokens: true, want: refusedEverywhere, attack: func(h *hostile) string { return h.everywhere(token) }})
	}
	return cases
}

// withOwnKeySet presents a token that names a URL of the attacker's, and reports
// whether anybody came to fetch it.
func (h *hostile) withOwnKeySet(token func(url string) string) string {
	h.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback: it cannot block
	if err != nil {
		h.t.Fatal(err)
	}
	fetched := make(chan bool, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_ = conn.Close()
		}
		fetched <- err == nil
	}()
	got := h.everywhere(token("http://" + listener.Addr().String() + "/keys"))
	_ = listener.Close()
	if <-fetched {
		got += ", and it was fetched"
	}
	return got
}
