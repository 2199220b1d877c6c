package identity

import "strings"

// Reason is why a caller was not identified. The set is closed, so that refusals can be counted by it.
type Reason string

// The reasons.
const (
	// ReasonMissing: no token was presented where one is needed.
	ReasonMissing Reason = "missing"
	// ReasonAmbiguous: two different tokens were presented.
	ReasonAmbiguous Reason = "ambiguous"
	// ReasonMalformed: what was presented is not a signed JWT of acceptable size.
	ReasonMalformed Reason = "malformed"
	// ReasonSignature: the method is not one that is accepted, or the signature is not by the key.
	ReasonSignature Reason = "signature"
	// ReasonUnknownKey: no key that fits is configured or at the JWKS URL.
	ReasonUnknownKey Reason = "unknown_key"
	// ReasonKeysUnavailable: no key that fits is known, and the JWKS URL did not answer or was asked too often just now. The only
	// reason that can pass by itself.
	ReasonKeysUnavailable Reason = "keys_unavailable"
	// ReasonExpired: "exp" has passed.
	ReasonExpired Reason = "expired"
	// ReasonNotYetValid: "nbf" or "iat" is ahead by more than the leeway.
	ReasonNotYetValid Reason = "not_yet_valid"
	// ReasonAudience: "aud" does not hold the configured audience.
	ReasonAudience Reason = "audience"
	// ReasonIssuer: "iss" is not the configured issuer.
	ReasonIssuer Reason = "issuer"
	// ReasonClaims: "sub" or "exp" is missing, or a claim is not of its type.
	ReasonClaims Reason = "claims"
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{
		ReasonMissing, ReasonAmbiguous, ReasonMalformed, ReasonSignature, ReasonUnknownKey, ReasonKeysUnavailable,
		ReasonExpired, ReasonNotYetValid, ReasonAudience, ReasonIssuer, ReasonClaims,
	}
}

// Error is the refusal of a caller. Everything in it may be shown to the caller and logged: it is made of this package's own
// words, never of the token's.
type Error struct {
	Reason Reason
	// Detail is a sentence for the person at the other end.
	Detail string
}

func refuse(reason Reason, detail string) *Error { return &Error{Reason: reason, Detail: detail} }

// Error returns the detail.
func (e *Error) Error() string { return "identity: " + e.Detail }

// Temporary reports whether the same token may be accepted a little later (within 10 s, once the keys can be fetched). An
// EventSource gives up for good on a 401, so that this deserves a 503.
func (e *Error) Temporary() bool { return e.Reason == ReasonKeysUnavailable }

// Challenge returns the value of the WWW-Authenticate header (RFC 6750, section 3): without an error code where no token was
// presented.
func (e *Error) Challenge() string {
	const realm = `Bearer realm="warren"`
	switch e.Reason {
	case ReasonMissing:
		return realm
	case ReasonAmbiguous:
		return realm + `, error="invalid_request", error_description="` + quotable(e.Detail) + `"`
	default:
		return realm + `, error="invalid_token", error_description="` + quotable(e.Detail) + `"`
	}
}

// quotable leaves the characters that RFC 6750 allows in an error description.
func quotable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < ' ' || r > '~':
			return -1
		}
		return r
	}, text)
}
