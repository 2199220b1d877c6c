package identity

import (
	"log/slog"
	"net/http"
	"strings"
)

const (
	// CookieName is the cookie that may carry a token.
	CookieName = "warren_token"
	// QueryName is the query parameter that may carry a token, for streams: an EventSource can send no header.
	QueryName = "access_token"
	// MaxTokenBytes bounds a token: several times what issuers produce, and what a WebSocket request can hold.
	MaxTokenBytes = 8 << 10
)

// Token is a signed token as it was presented. It prints and logs as "[token]"; convert it to a string to get at it.
type Token string

// redacted is what is printed in place of a token.
const redacted = "[token]"

// String returns "[token]".
func (t Token) String() string { return redacted }

// GoString returns "[token]", for %#v.
func (t Token) GoString() string { return redacted }

// LogValue returns "[token]", for slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[token]", for encodings.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Presented is what a request brought along.
type Presented struct {
	// Token is empty if the request brought none.
	Token Token
	// FromCookie is set if the token came in the cookie and nowhere else. A browser adds cookies to requests that foreign pages
	// make, so that the origin must be checked even where it otherwise need not be.
	FromCookie bool
}

// FromRequest takes the token out of the Authorization header (scheme Bearer, in any case; other schemes are none of ours) or the
// cookie. The same token in several places is fine, different ones are refused, as is a Bearer header without a well-formed
// token. An empty cookie is none: that is how pages log out. Errors are [*Error].
func FromRequest(r *http.Request) (Presented, error) {
	return present(r, nil)
}

// FromStreamRequest is FromRequest for what opens a stream: the query may carry the token as well.
func FromStreamRequest(r *http.Request) (Presented, error) {
	return present(r, r.URL.Query()[QueryName])
}

func present(r *http.Request, query []string) (Presented, error) {
	var found Presented
	for _, value := range r.Header.Values("Authorization") {
		scheme, rest := value, ""
		if end := strings.IndexAny(value, " \t"); end >= 0 {
			scheme, rest = value[:end], value[end:]
		}
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		if err := found.add(strings.TrimLeft(rest, " ")); err != nil {
			return Presented{}, err
		}
	}
	for _, value := range query {
		if err := found.add(value); err != nil {
			return Presented{}, err
		}
	}
	elsewhere := found.Token != ""
	for _, cookie := range r.CookiesNamed(CookieName) {
		if cookie.Value == "" {
			continue
		}
		if err := found.add(cookie.Value); err != nil {
			return Presented{}, err
		}
		found.FromCookie = !elsewhere
	}
	return found, nil
}

func (p *Presented) add(value string) error {
	if err := wellFormed(value); err != nil {
		return err
	}
	if p.Token != "" && string(p.Token) != value {
		return refuse(ReasonAmbiguous, "the request has two different tokens")
	}
	p.Token = Token(value)
	return nil
}

// wellFormed checks a token's length and, before anything else looks into it, its characters.
func wellFormed(value string) error {
	switch {
	case value == "":
		return refuse(ReasonMalformed, "the token is empty")
	case len(value) > MaxTokenBytes:
		return refuse(ReasonMalformed, "the token is too long")
	}
	for i := range len(value) {
		switch c := value[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return refuse(ReasonMalformed, "the token is not a signed JWT")
		}
	}
	return nil
}
