package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/warren-gateway/warren/api/identity"
)

// testKeys are made once: RSA keys take their time.
var testKeys = sync.OnceValue(func() (keys struct {
	rsa, otherRSA, smallRSA *rsa.PrivateKey
	ec, ec384               *ecdsa.PrivateKey
	ed                      ed25519.PrivateKey
	secret                  []byte
},
) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	keys.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	keys.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	keys.smallRSA, err = rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // it is there to be refused
	must(err)
	keys.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	keys.ec384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	_, keys.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	keys.secret = []byte(strings.Repeat("0123456789abcdef", 2))
	return keys
})

func writeFile(tb testing.TB, data []byte) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "key")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

func privatePEM(tb testing.TB, key any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func publicPEM(tb testing.TB, key crypto.Signer) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func certificatePEM(tb testing.TB, key crypto.Signer) []byte {
	tb.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// jwk describes a key as JSON, public or private as it is given, with members of the test's choice.
func jwk(tb testing.TB, key any, members map[string]any) json.RawMessage {
	tb.Helper()
	made, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: true}})
	if err != nil {
		tb.Fatal(err)
	}
	description := made.Marshal()
	encoded, err := json.Marshal(description)
	if err != nil {
		tb.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(encoded, &all); err != nil {
		tb.Fatal(err)
	}
	maps.Copy(all, members)
	if encoded, err = json.Marshal(all); err != nil {
		tb.Fatal(err)
	}
	return encoded
}

func jwks(tb testing.TB, keys ...json.RawMessage) []byte {
	tb.Helper()
	encoded, err := json.Marshal(map[string]any{"keys": append([]json.RawMessage{}, keys...)})
	if err != nil {
		tb.Fatal(err)
	}
	return encoded
}

// sign makes a token of any header and claims. A nil member is left out.
func sign(tb testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) identity.Token {
	tb.Helper()
	all := jwt.MapClaims{"sub": "ada", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	token := jwt.NewWithClaims(method, all)
	maps.Copy(token.Header, header)
	for _, members := range []map[string]any{all, token.Header} {
		maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	}
	signed, err := token.SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return identity.Token(signed)
}

func verifier(tb testing.TB, options identity.VerifierOptions) *identity.Verifier {
	tb.Helper()
	v, err := identity.NewVerifier(tb.Context(), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(v.Close)
	return v
}

func TestKeyFilesOfEveryKindVerify(t *testing.T) {
	keys := testKeys()
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(keys.rsa)})
	pkcs1Public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&keys.rsa.PublicKey)})
	der, err := x509.MarshalECPrivateKey(keys.ec)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 42}}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	for _, c := range []struct {
		name   string
		file   []byte
		hs256  bool
		method jwt.SigningMethod
		key    any
		header map[string]any
	}{
		{name: "RSA public", file: publicPEM(t, keys.rsa), method: jwt.SigningMethodRS256, key: keys.rsa},
		{name: "RSA public, PKCS #1", file: pkcs1Public, method: jwt.SigningMethodRS256, key: keys.rsa},
		{name: "RSA private", file: privatePEM(t, keys.rsa), method: jwt.SigningMethodRS256, key: keys.rsa},
		{name: "RSA private, PKCS #1", file: pkcs1, method: jwt.SigningMethodRS256, key: keys.rsa},
		{name: "RSA certificate", file: certificatePEM(t, keys.rsa), method: jwt.SigningMethodRS256, key: keys.rsa},
		{name: "EC public", file: publicPEM(t, keys.ec), method: jwt.SigningMethodES256, key: keys.ec},
		{name: "EC private, SEC 1", file: sec1, method: jwt.SigningMethodES256, key: keys.ec},
		{name: "Ed25519 public", file: publicPEM(t, keys.ed), method: jwt.SigningMethodEdDSA, key: keys.ed},
		{name: "two blocks, the second signs", file: append(publicPEM(t, keys.otherRSA), publicPEM(t, keys.rsa)...), method: jwt.SigningMethodRS256, key: keys.rsa},
		{name: "PEM, and the token names a key", file: publicPEM(t, keys.ed), method: jwt.SigningMethodEdDSA, key: keys.ed, header: map[string]any{"kid": "some"}},
		{name: "JWK", file: jwk(t, keys.ed.Public(), map[string]any{"kid": "k"}), method: jwt.SigningMethodEdDSA, key: keys.ed, header: map[string]any{"kid": "k"}},
		{name: "JWK, and the token names none", file: jwk(t, keys.ed.Public(), map[string]any{"kid": "k"}), method: jwt.SigningMethodEdDSA, key: keys.ed},
		{name: "JWK set", file: jwks(t, jwk(t, keys.otherRSA, nil), jwk(t, keys.ec, map[string]any{"use": "sig", "alg": "ES256"})), method: jwt.SigningMethodES256, key: keys.ec},
		{name: "a secret", file: keys.secret, hs256: true, method: jwt.SigningMethodHS256, key: keys.secret},
		{name: "a secret and a line's end", file: append(bytes.Clone(keys.secret), "\r\n"...), hs256: true, method: jwt.SigningMethodHS256, key: keys.secret},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verifier(t, identity.VerifierOptions{KeyFile: writeFile(t, c.file), HS256: c.hs256})
			id, err := v.Verify(t.Context(), sign(t, c.method, c.key, c.header, nil))
			if err != nil || id.Subject != "ada" || id.Anonymous {
				t.Errorf("got %+v, %v", id, err)
			}
		})
	}
}

func TestKeyFilesThatCannotBeUsedAreRefused(t *testing.T) {
	keys := testKeys()
	for _, c := range []struct {
		name  string
		file  []byte
		hs256 bool
	}{
		{name: "empty"},
		{name: "noise", file: []byte("not a key")},
		{name: "a secret that was not asked for", file: keys.secret},
		{name: "a short secret", file: []byte("password"), hs256: true},
		{name: "a public key as the secret", file: publicPEM(t, keys.rsa), hs256: true},
		{name: "a JWK as the secret", file: jwk(t, keys.ed, nil), hs256: true},
		{name: "a small RSA key", file: publicPEM(t, keys.smallRSA)},
		{name: "P-384", file: publicPEM(t, keys.ec384)},
		{name: "a secret as a JWK", file: jwk(t, keys.secret, nil)},
		{name: "an RSA key for encryption", file: jwk(t, keys.rsa, map[string]any{"use": "enc"})},
		{name: "an RSA key for another method", file: jwk(t, keys.rsa, map[string]any{"alg": "PS256"})},
		{name: "an RSA key for wrapping", file: jwk(t, keys.rsa, map[string]any{"key_ops": []string{"wrapKey"}})},
		{name: "an empty set", file: jwks(t)},
		{name: "a broken JWK", file: []byte(`{"kty":"RSA","n":"AQAB"`)},
		{name: "another PEM block", file: pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: []byte{1}})},
		{name: "a broken PEM block", file: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}})},
		{name: "a key and noise", file: append(publicPEM(t, keys.ed), "noise"...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := identity.NewVerifier(t.Context(), identity.VerifierOptions{KeyFile: writeFile(t, c.file), HS256: c.hs256})
			if !errors.Is(err, identity.ErrKey) {
				t.Errorf("got %v", err)
			}
			if err != nil && len(c.file) > 8 && strings.Contains(err.Error(), string(c.file)) {
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
}

func TestVerifierOptionsThatContradictAreRefused(t *testing.T) {
	file := writeFile(t, publicPEM(t, testKeys().ed))
	for name, options := range map[string]identity.VerifierOptions{
		"no key":            {},
		"two sources":       {KeyFile: file, JWKSURL: "https://example.org/jwks"},
		"HS256 by URL":      {JWKSURL: "https://example.org/jwks", HS256: true},
		"not a URL":         {JWKSURL: "://"},
		"not http":          {JWKSURL: "file:///etc/keys"},
		"no host":           {JWKSURL: "https:///keys"},
		"too much leeway":   {KeyFile: file, Leeway: time.Hour},
		"too many fetches":  {KeyFile: file, RefreshInterval: time.Second},
		"no file":           {KeyFile: file + ".missing"},
		"a negative period": {KeyFile: file, RefreshInterval: -time.Hour},
	} {
		if _, err := identity.NewVerifier(t.Context(), options); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
