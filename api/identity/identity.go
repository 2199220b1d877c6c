package identity

import (
	"net/netip"
	"time"
)

// Identity is a caller: one that a token names, or one that nothing but an address is known of. It is made by [Verifier.Verify]
// or by [AnonymousAt]; the zero Identity has no grants.
type Identity struct {
	// Subject is the token's "sub", 1 to 255 bytes without control characters; for an anonymous caller the address as
	// AnonymousAt writes it.
	Subject string
	// Anonymous is set for a caller without a token.
	Anonymous bool
	// Expires is the token's "exp", the end of everything that is done under it; zero for an anonymous caller.
	Expires time.Time
	// Grants is what the token allows to bind. An anonymous caller has none and needs none.
	Grants Grants
	// MaxSubscriptions is how many subscriptions the token lets its subject own: 0 if it does not say, negative if none. Read it by
	// SubscriptionLimit.
	MaxSubscriptions int
}

// Caller returns the key under which the caller's resources are counted and owned. A subject can never be taken for an address.
func (id Identity) Caller() string {
	if id.Anonymous {
		return "addr:" + id.Subject
	}
	return "sub:" + id.Subject
}

// SubscriptionLimit returns how many subscriptions the caller may own where others may own limit: a token can tighten this, never
// widen it.
func (id Identity) SubscriptionLimit(limit int) int {
	switch {
	case id.MaxSubscriptions < 0:
		return 0
	case id.MaxSubscriptions == 0:
		return limit
	}
	return min(limit, id.MaxSubscriptions)
}

// MayBind reports whether the caller may bind an exchange with a routing key, as far as the identity decides it: always, for an
// anonymous one. A [Policy] comes on top for both. Of typ see [Grants.Allow].
func (id Identity) MayBind(exchange, routingKey string, typ TypeOf) bool {
	return id.Anonymous || id.Grants.Allow(exchange, routingKey, typ)
}

// AnonymousAt returns the identity of a caller without a token: the client address, and of an IPv6 address its /64, which is what one
// customer is given and can wander about in. An IPv4 address is the same caller however it is written.
func AnonymousAt(addr netip.Addr) Identity {
	return Identity{Subject: addressKey(addr), Anonymous: true}
}

func addressKey(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return "unknown"
	}
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}
