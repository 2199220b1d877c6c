package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
)

// keysRetry is when a token may be good whose key could not be fetched just now.
const keysRetry = 10 * time.Second

// caller is who asks.
type caller struct {
	identity.Identity

	// key is what the caller's resources are counted and owned under.
	key string
	// tokenless says that a token is needed and none came: a WebSocket may send
	// it as its first message, and the id alone may suffice to attach.
	tokenless bool
}

// ParseNetwork reads a network (CIDR). One of IPv4 addresses written as IPv6, such as
// ::ffff:10.0.0.0/104, becomes 10.0.0.0/8: peers are compared as IPv4, and would never be
// in it. One that has more than such addresses is an error.
func ParseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err != nil || !network.Addr().Is4In6() {
		return network, err
	}
	const mapped = 96 // bits before the IPv4 address
	if network.Bits() < mapped {
		return netip.Prefix{}, errors.New("a network of IPv4 addresses in IPv6 has 96 bits or more")
	}
	return netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-mapped), nil
}

// clientAddress returns the middleware that finds the client's address. Nobody's
// X-Forwarded-For is believed but the configured proxies'.
func clientAddress(trusted []string) (func(http.Handler) http.Handler, error) {
	networks := make([]string, len(trusted))
	for i, text := range trusted {
		network, err := ParseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %q: %w", text, err)
		}
		networks[i] = network.String()
	}
	if len(networks) == 0 {
		return middleware.ClientIPFromRemoteAddr, nil
	}
	forwarded := middleware.ClientIPFromXFF(networks...)
	return func(next http.Handler) http.Handler {
		return middleware.ClientIPFromRemoteAddr(forwarded(next)) // the peer, where the header names nobody
	}, nil
}

// identify says who asks and counts the request. Errors: CodeUnauthorized,
// CodeForbiddenOrigin, CodeRateLimited; CodeOverCapacity when keys cannot be fetched.
func (a *API) identify(r *http.Request, kind endpoint) (caller, error) {
	anonymous := identity.AnonymousAt(middleware.GetClientIPAddr(r.Context()))
	c := caller{Identity: anonymous, key: anonymous.Caller()}
	if a.opts.Verifier != nil {
		verified, err := a.verify(r, kind, c.key)
		switch {
		case err != nil:
			// A flood of bad tokens counts against the address: nobody else is known.
			if limited := a.opts.Admission.Request(c.key); limited != nil {
				return caller{}, limited
			}
			return caller{}, err
		case verified == nil:
			c.tokenless = true
		default:
			c = caller{Identity: *verified, key: verified.Caller()}
		}
	}
	if err := a.opts.Admission.Request(c.key); err != nil {
		return caller{}, err
	}
	if !c.Anonymous {
		a.opts.Admission.Renew(c.key, c.Expires)
	}
	return c, nil
}

// verify returns the identity that the request's token names, nil without a
// token. address is the key of the client's address.
func (a *API) verify(r *http.Request, kind endpoint, address string) (*identity.Identity, error) {
	from := identity.FromStreamRequest
	if kind == endpointREST {
		from = identity.FromRequest
	}
	presented, err := from(r)
	if err != nil {
		return nil, unauthorized(err)
	}
	if presented.Token == "" {
		return nil, nil
	}
	// Browsers add cookies to requests of any page. Another port of the same
	// host is "same-site", and without Origin nothing else tells it apart.
	if presented.FromCookie && r.Header.Get("Origin") == "" {
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			return nil, broker.Errorf(broker.CodeForbiddenOrigin, "a cookie counts for pages of this gateway and of allowed origins alone")
		}
	}
	// A signature takes some 50 µs to check. An address that has used up its
	// requests with bad tokens gets no more of them, save for tokens that were
	// good before: those of others behind the same address go on counting.
	if limited := a.opts.Admission.Spent(address); limited != nil && !a.proven.has(presented.Token) {
		return nil, limited
	}
	id, err := a.opts.Verifier.Verify(r.Context(), presented.Token)
	if err != nil {
		return nil, unauthorized(err)
	}
	a.proven.add(presented.Token)
	return &id, nil
}

// unauthorized turns a refusal of identity into one of the contract.
func unauthorized(err error) error {
	var refused *identity.Error
	if !errors.As(err, &refused) {
		return err
	}
	if refused.Temporary() {
		e := broker.Errorf(broker.CodeOverCapacity, refused.Detail).WithCause(err)
		e.RetryAfter = keysRetry
		return e
	}
	return broker.Errorf(broker.CodeUnauthorized, refused.Detail).WithCause(err)
}

// errTokenMissing is the refusal of a caller without a token.
func errTokenMissing() error {
	return unauthorized(&identity.Error{Reason: identity.ReasonMissing, Detail: "this needs a token"})
}

// mayBind checks that the caller may listen to all of the bindings: by
// configuration and, in token mode, by what the token grants.
func (a *API) mayBind(c caller, bindings []broker.Binding) error {
	typ := a.opts.Broker.Source().ExchangeType
	for i, b := range bindings {
		if !a.opts.Policy.Allows(b.Exchange()) {
			return broker.Errorf(broker.CodeForbiddenBinding, "this gateway does not let anybody bind this exchange").WithBinding(i)
		}
		if a.opts.Verifier != nil && (c.tokenless || !c.MayBind(b.Exchange(), b.RoutingKey(), typ)) {
			return broker.Errorf(broker.CodeForbiddenBinding, "the token does not grant this binding").WithBinding(i)
		}
	}
	return nil
}
