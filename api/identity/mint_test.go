package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/api/identity"
)

func TestMintedTokensVerifyWithTheSameFile(t *testing.T) {
	keys := testKeys()
	for _, c := range []struct {
		name  string
		file  []byte
		hs256 bool
	}{
		{name: "RSA", file: privatePEM(t, keys.rsa)},
		{name: "EC", file: privatePEM(t, keys.ec)},
		{name: "Ed25519", file: privatePEM(t, keys.ed)},
		{name: "JWK", file: jwk(t, keys.ed, map[string]any{"kid": "dev"})},
		{name: "JWK set", file: jwks(t, jwk(t, keys.ec, map[string]any{"kid": "1"}), jwk(t, keys.ed, map[string]any{"kid": "2"}))},
		{name: "a secret", file: keys.secret, hs256: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := writeFile(t, c.file)
			before := time.Now()
			token, err := identity.Mint(identity.MintOptions{
				KeyFile: file, HS256: c.hs256, Subject: "ada", TTL: time.Hour, Grants: grants(t, "orders=eu.#", "news"),
				MaxSubscriptions: 3, Audience: "warren", Issuer: "dev",
			})
			if err != nil {
				t.Fatal(err)
			}
			v := verifier(t, identity.VerifierOptions{KeyFile: file, HS256: c.hs256, Audience: "warren", Issuer: "dev"})
			id, err := v.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			if id.Subject != "ada" || id.MaxSubscriptions != 3 || len(id.Grants) != 2 {
				t.Errorf("got %+v", id)
			}
			if left := id.Expires.Sub(before); left < time.Hour || left > time.Hour+2*time.Second {
				t.Errorf("it is good for %v", left)
			}
			if !id.MayBind("orders", "eu.new", exchangeTypes) || !id.MayBind("news", "#", nil) || id.MayBind("orders", "us.new", exchangeTypes) {
				t.Errorf("the grants are %v", id.Grants)
			}
		})
	}
}

func TestMintedTokensWithoutGrantsGrantNothing(t *testing.T) {
	file := writeFile(t, privatePEM(t, testKeys().ed))
	token, err := identity.Mint(identity.MintOptions{KeyFile: file, Subject: "ada", TTL: time.Minute, MaxSubscriptions: -1})
	if err != nil {
		t.Fatal(err)
	}
	id, err := verifier(t, identity.VerifierOptions{KeyFile: file}).Verify(t.Context(), token)
	if err != nil || len(id.Grants) != 0 || id.SubscriptionLimit(50) != 0 {
		t.Errorf("got %+v, %v", id, err)
	}
}

func TestMintRefusesWhatWouldNotVerify(t *testing.T) {
	keys := testKeys()
	file := writeFile(t, privatePEM(t, keys.ed))
	many := make([]string, identity.MaxGrants+1)
	for i := range many {
		many[i] = "e"
	}
	for name, options := range map[string]identity.MintOptions{
		"no subject":      {KeyFile: file, TTL: time.Hour},
		"a long subject":  {KeyFile: file, TTL: time.Hour, Subject: strings.Repeat("s", 256)},
		"no time":         {KeyFile: file, Subject: "ada"},
		"past its end":    {KeyFile: file, Subject: "ada", TTL: -time.Hour},
		"no key":          {Subject: "ada", TTL: time.Hour},
		"a public key":    {KeyFile: writeFile(t, publicPEM(t, keys.ed)), Subject: "ada", TTL: time.Hour},
		"a secret":        {KeyFile: writeFile(t, keys.secret), Subject: "ada", TTL: time.Hour},
		"too many grants": {KeyFile: file, Subject: "ada", TTL: time.Hour, Grants: grants(t, many...)},
		"too long":        {KeyFile: file, Subject: "ada", TTL: time.Hour, Grants: grants(t, strings.Repeat("x", 250), strings.Repeat("y", 250)), Audience: strings.Repeat("a", identity.MaxTokenBytes)},
	} {
		if token, err := identity.Mint(options); err == nil || token != "" {
			t.Errorf("%s: accepted", name)
		}
	}
}
