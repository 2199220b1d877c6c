package identity_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/warren-gateway/warren/api/identity"
)

// issuer is a real HTTP server with a key set that can be changed.
type issuer struct {
	*httptest.Server
	fetches atomic.Int64
	answer  atomic.Pointer[http.HandlerFunc]
}

func newIssuer(tb testing.TB, set []byte) *issuer {
	tb.Helper()
	i := &issuer{}
	i.publish(set)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		(*i.answer.Load())(w, r)
	}))
	tb.Cleanup(i.Close)
	return i
}

func (i *issuer) publish(set []byte) {
	i.handle(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(set) //nolint:errcheck // the client may be gone
	})
}

func (i *issuer) handle(handler http.HandlerFunc) { i.answer.Store(&handler) }

// signer is the private key by a name: a token of it, and what the issuer publishes of it.
type signer struct {
	id     string
	key    crypto.Signer
	method jwt.SigningMethod
}

func (s signer) token(tb testing.TB) identity.Token {
	tb.Helper()
	return sign(tb, s.method, s.key, map[string]any{"kid": s.id}, nil)
}

func (s signer) public(tb testing.TB) []byte {
	tb.Helper()
	return jwk(tb, s.key.Public(), map[string]any{"kid": s.id})
}

func oldAndNew() (before, after signer) {
	keys := testKeys()
	return signer{"before", keys.ed, jwt.SigningMethodEdDSA}, signer{"after", keys.ec, jwt.SigningMethodES256}
}

func TestKeysRotate(t *testing.T) {
	before, after := oldAndNew()
	issuer := newIssuer(t, jwks(t, before.public(t)))
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
		t.Fatal(err)
	}
	_, err := v.Verify(t.Context(), after.token(t))
	checkReason(t, err, identity.ReasonUnknownKey)

	issuer.publish(jwks(t, before.public(t), after.public(t)))
	for _, s := range []signer{after, before} {
		if _, err := v.Verify(t.Context(), s.token(t)); err != nil {
			t.Errorf("%s: %v", s.id, err)
		}
	}
	if got := issuer.fetches.Load(); got != 3 {
		t.Errorf("%d fetches, want one at start and one for each time that the key was unknown", got)
	}
}

func TestARevokedKeyStopsCountingWithTheNextFetch(t *testing.T) {
	before, after := oldAndNew()
	issuer := newIssuer(t, jwks(t, before.public(t)))
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	issuer.publish(jwks(t, after.public(t)))
	if _, err := v.Verify(t.Context(), after.token(t)); err != nil {
		t.Fatal(err)
	}
	_, err := v.Verify(t.Context(), before.token(t))
	checkReason(t, err, identity.ReasonUnknownKey)
}

// TestEverybodyComesBackAtOnceAfterARotation: the limiter lets two fetches through, and yet nobody may be sent away.
func TestEverybodyComesBackAtOnceAfterARotation(t *testing.T) {
	before, after := oldAndNew()
	issuer := newIssuer(t, jwks(t, before.public(t)))
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	issuer.publish(jwks(t, before.public(t), after.public(t)))
	token := after.token(t)
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := issuer.fetches.Load(); got > 3 {
		t.Errorf("%d fetches", got)
	}
}

func TestAFloodOfUnknownKeysCostsTheIssuerTwoFetches(t *testing.T) {
	before, _ := oldAndNew()
	issuer := newIssuer(t, jwks(t, before.public(t)))
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	good := before.token(t)
	keys := testKeys()
	begin := time.Now()
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range 100 {
				forged := sign(t, jwt.SigningMethodEdDSA, keys.ed, map[string]any{"kid": fmt.Sprintf("forged-%d-%d", worker, i)}, nil)
				if _, err := v.Verify(t.Context(), forged); err == nil {
					t.Error("a forged token was accepted")
				}
				if _, err := v.Verify(t.Context(), good); err != nil {
					t.Errorf("a good token beside it: %v", err)
				}
			}
		})
	}
	wait.Wait()
	_, err := v.Verify(t.Context(), signer{"last", keys.ed, jwt.SigningMethodEdDSA}.token(t))
	checkReason(t, err, identity.ReasonKeysUnavailable)
	if refused := refusal(t, err); !refused.Temporary() {
		t.Error("a key that could not be looked for is final")
	}
	if got := issuer.fetches.Load(); got != 3 {
		t.Errorf("%d fetches, want one at start and a burst of two", got)
	}
	if took := time.Since(begin); took > 9*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestHangingUpDoesNotKeepNewKeysOut: the fetch goes on for all others if the client that caused it goes away.
func TestHangingUpDoesNotKeepNewKeysOut(t *testing.T) {
	before, after := oldAndNew()
	issuer := newIssuer(t, jwks(t, before.public(t)))
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	issuer.publish(jwks(t, after.public(t)))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(gone, after.token(t)); err != nil {
		t.Errorf("the fetch ended with its first client: %v", err)
	}
}

func TestTheIssuerNeedNotBeUpFirst(t *testing.T) {
	before, _ := oldAndNew()
	issuer := newIssuer(t, nil)
	issuer.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	var log bytes.Buffer
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL + "?api_key=swordfish", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	_, err := v.Verify(t.Context(), before.token(t))
	checkReason(t, err, identity.ReasonKeysUnavailable)
	issuer.publish(jwks(t, before.public(t)))
	if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "cannot fetch the JWKS") || strings.Contains(text, "swordfish") {
		t.Errorf("the log is %s", text)
	}
}

// TestWhatAnIssuerPublishesBeside: keys that are not for our tokens are neither used nor in the way.
func TestWhatAnIssuerPublishesBeside(t *testing.T) {
	before, _ := oldAndNew()
	keys := testKeys()
	issuer := newIssuer(t, jwks(t,
		jwk(t, keys.secret, map[string]any{"kid": "secret"}),
		jwk(t, &keys.rsa.PublicKey, map[string]any{"kid": "enc", "use": "enc"}),
		jwk(t, &keys.ec384.PublicKey, map[string]any{"kid": "p384"}),
		jwk(t, &keys.smallRSA.PublicKey, map[string]any{"kid": "small"}),
		[]byte(`{"kty":"OKP","crv":"Ed448","kid":"ed448","x":"AA"}`),
		before.public(t)))
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		signer signer
		reason identity.Reason
	}{
		{signer{"enc", keys.rsa, jwt.SigningMethodRS256}, identity.ReasonUnknownKey},
		{signer{"small", keys.smallRSA, jwt.SigningMethodRS256}, identity.ReasonUnknownKey},
		{signer{"p384", keys.ec384, jwt.SigningMethodES384}, identity.ReasonSignature},
	} {
		_, err := v.Verify(t.Context(), c.signer.token(t))
		checkReason(t, err, c.reason)
	}
	_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, keys.secret, map[string]any{"kid": "secret"}, nil))
	checkReason(t, err, identity.ReasonSignature)
}

// TestKeysThatCannotBeReadCostNoOther has sets with one key that is good, and one that is broken or means nothing here.
func TestKeysThatCannotBeReadCostNoOther(t *testing.T) {
	before, _ := oldAndNew()
	good := map[string]any{}
	if err := json.Unmarshal(before.public(t), &good); err != nil {
		t.Fatal(err)
	}
	quiet := []string{"another use", "an unknown type", "null"}
	for name, bad := range map[string]string{
		"another use":             `{"kty":"RSA","kid":"b","use":"tls","n":"AQAB","e":"AQAB"}`,
		"a point off its curve":   `{"kty":"EC","kid":"b","crv":"P-256","x":"AQAB","y":"AQAB"}`,
		"no modulus":              `{"kty":"RSA","kid":"b","e":"AQAB"}`,
		"a large exponent":        `{"kty":"RSA","kid":"b","n":"` + strings.Repeat("_", 342) + `","e":"` + strings.Repeat("_", 342) + `"}`,
		"no secret":               `{"kty":"oct","kid":"b"}`,
		"a name that is a number": `{"kty":"oct","kid":7,"k":"AQAB"}`,
		"an unknown type":         `{"kty":"AKP","kid":"b","pub":"AQAB"}`,
		"no object":               `[]`,
		"null":                    `null`,
	} {
		var log bytes.Buffer
		issuer := newIssuer(t, jwks(t, json.RawMessage(bad), before.public(t)))
		v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if lines := strings.Count(log.String(), "keys of the JWKS cannot be used"); lines > 1 || (lines == 0) != slices.Contains(quiet, name) {
			t.Errorf("%s: the log is %s", name, log.String())
		}
	}
	for name, value := range map[string]any{
		"x5u": "http://issuer.example/cert", "x5c": []string{"AQAB"}, "x5t": "AQAB", "key_ops": []string{"verify", "https://issuer.example/check"},
	} {
		key := maps.Clone(good)
		key[name] = value
		raw, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		v := verifier(t, identity.VerifierOptions{JWKSURL: newIssuer(t, jwks(t, raw)).URL})
		if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
			t.Errorf("a key with %s: %v", name, err)
		}
	}
}

// TestAnswerThatIsNoKeySetRevokesNothing has an issuer that answers 200 all the same.
func TestAnswerThatIsNoKeySetRevokesNothing(t *testing.T) {
	before, after := oldAndNew()
	for _, answer := range []string{"{}", "null", `{"keys":null}`, "[]", "<html>"} {
		issuer := newIssuer(t, jwks(t, before.public(t)))
		v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
		issuer.publish([]byte(answer))
		_, err := v.Verify(t.Context(), after.token(t))
		checkReason(t, err, identity.ReasonKeysUnavailable)
		if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
			t.Errorf("after %s: %v", answer, err)
		}
	}
}

func TestAKeySetWithoutEndIsNotReadToItsEnd(t *testing.T) {
	before, _ := oldAndNew()
	issuer := newIssuer(t, nil)
	sent := make(chan int, 1)
	issuer.handle(func(w http.ResponseWriter, _ *http.Request) {
		total, chunk := 0, bytes.Repeat([]byte(" "), 64<<10)
		for total < 64<<20 {
			n, err := w.Write(chunk)
			if total += n; err != nil {
				break
			}
		}
		sent <- total
	})
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	// What the sockets' buffers hold comes on top of the bound.
	if total := <-sent; total > 32<<20 {
		t.Errorf("%d bytes were taken", total)
	}
	issuer.publish(jwks(t, before.public(t)))
	if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
		t.Error(err)
	}
}

func TestAnIssuerThatDoesNotAnswerHoldsCallersForTwoSeconds(t *testing.T) {
	before, after := oldAndNew()
	issuer := newIssuer(t, jwks(t, before.public(t)))
	v := verifier(t, identity.VerifierOptions{JWKSURL: issuer.URL})
	issuer.handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	begin := time.Now()
	_, err := v.Verify(t.Context(), after.token(t))
	checkReason(t, err, identity.ReasonKeysUnavailable)
	if took := time.Since(begin); took < time.Second || took > 9*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := v.Verify(t.Context(), before.token(t)); err != nil {
		t.Errorf("a known key: %v", err)
	}
}
