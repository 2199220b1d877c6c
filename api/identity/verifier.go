package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// DefaultLeeway is how far a clock may be behind the issuer's if nothing else is configured.
	DefaultLeeway = 30 * time.Second
	// MaxLeeway is the most that can be configured.
	MaxLeeway = 5 * time.Minute
	// DefaultRefresh is how often the JWKS is fetched, so how long a revoked key goes on counting.
	DefaultRefresh = 15 * time.Minute
	minRefresh     = 10 * time.Second
	// maxSubjectBytes is what OpenID Connect allows a subject.
	maxSubjectBytes = 255
	maxKeyIDBytes   = 256
	// maxCandidates bounds how many signatures one token can make us check: those of tokens that name no key.
	maxCandidates = 8
)

// VerifierOptions say where the keys come from and what a token must hold. Exactly one of JWKSURL and KeyFile is needed.
type VerifierOptions struct {
	// JWKSURL is where the issuer publishes its keys. Plain http trusts the network in between.
	JWKSURL string
	// RefreshInterval is how often the JWKS is fetched anew: DefaultRefresh if zero, at least 10 s.
	RefreshInterval time.Duration
	// KeyFile holds PEM keys or certificates, a JWK or a JWK set; private keys serve for their public half. It is read once.
	KeyFile string
	// HS256 says that KeyFile holds a raw secret (32 bytes at least) for HS256, and that only HS256 is accepted. Whoever
	// can verify such tokens can make them.
	HS256 bool
	// Audience, if set, must be in "aud". Without it a token that the issuer made for another service is accepted here.
	Audience string
	// Issuer, if set, must be "iss".
	Issuer string
	// Leeway is for "nbf" and "iat" (never "exp"): DefaultLeeway if zero, none if negative, MaxLeeway at most.
	Leeway time.Duration
	// Logger gets failed fetches and what is doubtful in the configuration; nil: nothing is logged.
	Logger *slog.Logger
}

// Verifier turns tokens into identities. It is safe for concurrent use.
type Verifier struct {
	parser *jwt.Parser
	static []key       // from the file
	remote *remoteKeys // nil with a file
}

// NewVerifier reads the keys. With a JWKS URL it waits up to 5 s for the first fetch, and does not fail if that does: until one
// succeeds tokens are refused with [ReasonKeysUnavailable]. The context is for its values only; Close ends everything.
func NewVerifier(ctx context.Context, options VerifierOptions) (*Verifier, error) {
	log := cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	switch {
	case (options.JWKSURL == "") == (options.KeyFile == ""):
		return nil, errors.New("tokens need either a JWKS URL or a key file")
	case options.HS256 && options.KeyFile == "":
		return nil, errors.New("HS256 needs a key file")
	case options.Leeway > MaxLeeway:
		return nil, fmt.Errorf("the leeway is %v, at most %v is allowed", options.Leeway, MaxLeeway)
	}
	refresh := cmp.Or(options.RefreshInterval, DefaultRefresh)
	if refresh < minRefresh {
		return nil, fmt.Errorf("the JWKS would be fetched every %v, at least %v must be between", refresh, minRefresh)
	}
	methods := []string{jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg()}
	if options.HS256 {
		methods = []string{jwt.SigningMethodHS256.Alg()}
	}
	v := &Verifier{parser: jwt.NewParser(
		jwt.WithValidMethods(methods), jwt.WithStrictDecoding(), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(max(0, cmp.Or(options.Leeway, DefaultLeeway))),
		jwt.WithIssuer(options.Issuer), jwt.WithAudience(audiences(options.Audience)...),
	)}
	var err error
	if options.KeyFile != "" {
		v.static, err = readKeyFile(options.KeyFile, options.HS256)
	} else {
		v.remote, err = newRemoteKeys(ctx, options.JWKSURL, refresh, log)
	}
	if err != nil {
		return nil, err
	}
	v.warn(options, log)
	return v, nil
}

func audiences(audience string) []string {
	if audience == "" {
		return nil
	}
	return []string{audience}
}

func (v *Verifier) warn(options VerifierOptions, log *slog.Logger) {
	if options.Audience == "" {
		log.Warn("no audience is configured: tokens that were made for other services are accepted")
	}
	if strings.HasPrefix(options.JWKSURL, "http:") {
		log.Warn("the JWKS is fetched without TLS: whoever is in between can hand out keys")
	}
	for _, k := range v.static {
		if k.private != nil && !options.HS256 {
			log.Warn("the key file holds a private key, of which the gateway needs the public half only")
			break
		}
	}
}

// Close ends the fetching of keys. Tokens can then still be verified with the keys that are known.
func (v *Verifier) Close() {
	if v.remote != nil {
		v.remote.close()
	}
}

// Verify verifies a token and reads what it grants. It blocks only if the token names a key that is not known, for at most 2 s or
// until the context ends. Errors are [*Error].
func (v *Verifier) Verify(ctx context.Context, token Token) (Identity, error) {
	if token == "" {
		return Identity{}, refuse(ReasonMissing, "a token is needed")
	}
	if err := wellFormed(string(token)); err != nil {
		return Identity{}, err
	}
	claims := &claims{}
	_, err := v.parser.ParseWithClaims(string(token), claims, func(parsed *jwt.Token) (any, error) {
		return v.keysFor(ctx, parsed)
	})
	if err != nil {
		return Identity{}, explain(err)
	}
	return claims.identity(time.Now())
}

// keysFor chooses the keys that a token may be signed with: those of its method that have the name it gives, or all of its method if
// it gives none. What a PEM file holds has no name and serves any.
func (v *Verifier) keysFor(ctx context.Context, token *jwt.Token) (any, error) {
	id, named, err := checkHeader(token.Header)
	if err != nil {
		return nil, err
	}
	found := v.candidates(id, named, token.Method)
	asked := true
	if v.remote != nil && len(found) == 0 {
		asked = v.remote.fetch(ctx, id)
		found = v.candidates(id, named, token.Method)
	}
	switch {
	case len(found) == 0 && !asked:
		return nil, refuse(ReasonKeysUnavailable, "the keys cannot be fetched now, try again in 10 seconds")
	case len(found) == 0:
		return nil, refuse(ReasonUnknownKey, "the token is signed with an unknown key")
	case len(found) > maxCandidates:
		return nil, refuse(ReasonUnknownKey, "the token does not say which of many keys signed it")
	}
	set := jwt.VerificationKeySet{Keys: make([]jwt.VerificationKey, 0, len(found))}
	for _, k := range found {
		set.Keys = append(set.Keys, k.public)
	}
	return set, nil
}

func (v *Verifier) candidates(id string, named bool, method jwt.SigningMethod) []key {
	keys := v.static
	if v.remote != nil {
		keys = v.remote.keys()
	}
	var found []key
	for _, k := range keys {
		if k.method.Alg() == method.Alg() && (!named || k.id == id || k.id == "" && v.remote == nil) {
			found = append(found, k)
		}
	}
	return found
}

// checkHeader returns the name of the key, and whether there is one. It refuses what would change the meaning of the token: "crit" asks
// for an extension (RFC 7515, section 4.1.11), and a "typ" of something else marks a token that was not made to open anything
// (RFC 8725, section 3.11).
func checkHeader(header map[string]any) (id string, named bool, err error) {
	if _, ok := header["crit"]; ok {
		return "", false, refuse(ReasonMalformed, "the token needs an extension that is not known here")
	}
	if value, ok := header["typ"]; ok {
		typ, _ := value.(string)
		switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
		case "jwt", "at+jwt":
		default:
			return "", false, refuse(ReasonMalformed, "the token is of another type")
		}
	}
	value, ok := header["kid"]
	if !ok {
		return "", false, nil
	}
	id, ok = value.(string)
	if !ok || id == "" || len(id) > maxKeyIDBytes {
		return "", false, refuse(ReasonMalformed, "the name of the token's key is not a short string")
	}
	return id, true, nil
}

// explain says in our own words why the token was refused: the library's may quote the token.
func explain(err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	for _, c := range []struct {
		is error
		as *Error
	}{
		{jwt.ErrTokenMalformed, refuse(ReasonMalformed, "the token is not a signed JWT")},
		{jwt.ErrTokenSignatureInvalid, refuse(ReasonSignature, "the token's signature is not valid here")},
		{jwt.ErrTokenUnverifiable, refuse(ReasonSignature, "the token is signed by a method that is not known here")},
		{jwt.ErrTokenExpired, errExpired},
		{jwt.ErrTokenNotValidYet, refuse(ReasonNotYetValid, "the token is not valid yet")},
		{jwt.ErrTokenUsedBeforeIssued, refuse(ReasonNotYetValid, "the token is from the future")},
		{jwt.ErrTokenInvalidAudience, refuse(ReasonAudience, "the token is for another audience")},
		{jwt.ErrTokenInvalidIssuer, refuse(ReasonIssuer, "the token is from another issuer")},
	} {
		if errors.Is(err, c.is) {
			return c.as
		}
	}
	return refuse(ReasonClaims, `the token lacks a claim that is needed ("sub", "exp", audience or issuer)`)
}

var errExpired = refuse(ReasonExpired, "the token has expired")

// claims are those of a token's claims that count here, by their exact names. It is the jwt.Claims of the parser.
type claims struct {
	subject, issuer              string
	audience                     jwt.ClaimStrings
	expires, notBefore, issuedAt *jwt.NumericDate
	warren                       json.RawMessage
}

// latest is the end of the year 9999, the last that RFC 3339 can write.
const latest = 253402300799

// UnmarshalJSON reads the claims.
func (c *claims) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	c.warren = members["warren"]
	var err error
	read := func(name string, into any) {
		if raw, ok := members[name]; ok && err == nil && json.Unmarshal(raw, into) != nil {
			err = refuse(ReasonClaims, "the claim \""+name+"\" is not of its type")
		}
	}
	date := func(name string) *jwt.NumericDate {
		var seconds *float64
		read(name, &seconds)
		switch {
		case err != nil || seconds == nil:
			return nil
		case *seconds < 0 || *seconds > latest:
			err = refuse(ReasonClaims, "the claim \""+name+"\" is not a time")
			return nil
		}
		return jwt.NewNumericDate(time.Unix(int64(*seconds), 0))
	}
	read("sub", &c.subject)
	read("iss", &c.issuer)
	read("aud", &c.audience)
	c.expires, c.notBefore, c.issuedAt = date("exp"), date("nbf"), date("iat")
	return err
}

// identity is the last step, once the signature is known to be good.
func (c *claims) identity(now time.Time) (Identity, error) {
	// The parser has compared "exp" with the leeway.
	if !now.Before(c.expires.Time) {
		return Identity{}, errExpired
	}
	if err := checkSubject(c.subject); err != nil {
		return Identity{}, err
	}
	id := Identity{Subject: c.subject, Expires: c.expires.Time}
	if isNull(c.warren) {
		return id, nil
	}
	var err error
	if id.Grants, id.MaxSubscriptions, err = parseClaim(c.warren); err != nil {
		return Identity{}, refuse(ReasonClaims, err.Error())
	}
	return id, nil
}

// checkSubject refuses what is no name or would forge lines in a log.
func checkSubject(subject string) error {
	switch {
	case subject == "":
		return refuse(ReasonClaims, `the token has no "sub"`)
	case len(subject) > maxSubjectBytes, !utf8.ValidString(subject), strings.ContainsFunc(subject, unicode.IsControl):
		return refuse(ReasonClaims, `the token's "sub" is too long or has control characters`)
	}
	return nil
}

// GetExpirationTime and the others are for the parser.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }

func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.notBefore, nil }

func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.issuedAt, nil }

func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }

func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

func (c *claims) GetSubject() (string, error) { return c.subject, nil }
