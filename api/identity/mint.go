package identity

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MintOptions describe a token for development, tests and trying.
type MintOptions struct {
	// KeyFile holds a private key (PEM or JWK: RSA, P-256 or Ed25519), or with HS256 a raw secret, as for VerifierOptions. The first
	// key in it signs; if it is a JWK with a "kid", the token names it.
	KeyFile string
	HS256   bool
	// Subject is "sub", and needed.
	Subject string
	// TTL is how long the token is good for: more than zero. "exp" has whole seconds, so that it may be a second more.
	TTL time.Duration
	// Grants is what may be bound; none: nothing, which is rarely meant.
	Grants Grants
	// MaxSubscriptions tightens how many subscriptions the subject may own, as Identity has it: 0 says nothing, negative is none.
	MaxSubscriptions int
	// Audience and Issuer are left out if empty.
	Audience string
	Issuer   string
}

// Mint signs a token. Its "iat" is now.
func Mint(options MintOptions) (Token, error) {
	switch {
	case checkSubject(options.Subject) != nil:
		return "", checkSubject(options.Subject)
	case options.TTL <= 0:
		return "", errors.New("a token needs a time to live")
	case len(options.Grants) > MaxGrants:
		return "", fmt.Errorf("a token holds at most %d grants", MaxGrants)
	}
	keys, err := readKeyFile(options.KeyFile, options.HS256)
	if err != nil {
		return "", err
	}
	signer := keys[0]
	if signer.private == nil {
		return "", fmt.Errorf("%w: signing needs a private key, and the file holds a public one", ErrKey)
	}
	token := jwt.NewWithClaims(signer.method, mintClaims(options, time.Now()))
	if signer.id != "" {
		token.Header["kid"] = signer.id
	}
	signed, err := token.SignedString(signer.private)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	if len(signed) > MaxTokenBytes {
		return "", fmt.Errorf("the token has %d bytes, at most %d are accepted", len(signed), MaxTokenBytes)
	}
	return Token(signed), nil
}

func mintClaims(options MintOptions, now time.Time) jwt.MapClaims {
	warren := map[string]any{"bind": append(Grants{}, options.Grants...)}
	if options.MaxSubscriptions != 0 {
		warren["max_subscriptions"] = max(0, options.MaxSubscriptions)
	}
	claims := jwt.MapClaims{
		"sub":    options.Subject,
		"iat":    now.Unix(),
		"exp":    now.Add(options.TTL + time.Second - 1).Unix(),
		"warren": warren,
	}
	if options.Audience != "" {
		claims["aud"] = options.Audience
	}
	if options.Issuer != "" {
		claims["iss"] = options.Issuer
	}
	return claims
}
