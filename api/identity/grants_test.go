package identity_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
)

func grants(tb testing.TB, specs ...string) identity.Grants {
	tb.Helper()
	list := make(identity.Grants, 0, len(specs))
	for _, spec := range specs {
		grant, err := identity.ParseGrant(spec)
		if err != nil {
			tb.Fatalf("ParseGrant(%q): %v", spec, err)
		}
		list = append(list, grant)
	}
	return list
}

// exchangeTypes is what the gateway knows in these tests.
func exchangeTypes(exchange string) (string, bool) {
	typ, known := map[string]string{"orders": "topic", "orders.eu": "topic", "news": "fanout", "tasks": "direct", "by.head": "headers"}[exchange]
	return typ, known
}

func TestGrantsAllowWhatOneGrantContains(t *testing.T) {
	for _, c := range []struct {
		name, exchange, key string
		grants              []string
		want                bool
	}{
		{"the same key", "orders", "eu.new", []string{"orders=eu.new"}, true},
		{"a narrower pattern", "orders", "eu.*", []string{"orders=eu.#"}, true},
		{"a wider pattern", "orders", "eu.#", []string{"orders=eu.*"}, false},
		{"everything behind a narrow grant", "orders", "#", []string{"orders=eu.#"}, false},
		{"wildcards on both sides", "orders", "*.#.new", []string{"orders=#.*.new"}, true},
		{"two grants that only together contain it", "orders", "*.new", []string{"orders=eu.*", "orders=us.*"}, false},
		{"the second of two grants", "orders", "us.new", []string{"orders=eu.*", "orders=us.*"}, true},
		{"a glob", "orders.eu", "new", []string{"orders.*=new"}, true},
		{"a glob that does not match", "orders", "new", []string{"orders.*=new"}, false},
		{"the other exchange's grant", "orders", "a", []string{"orders=b", "news=a"}, false},
		{"fanout behind a narrow grant", "news", "eu.new", []string{"news=eu.#"}, false},
		{"fanout behind a narrow grant with a glob", "news", "eu.new", []string{"*=eu.#"}, false},
		{"fanout behind #", "news", "eu.new", []string{"news=#"}, true},
		{"headers behind a narrow grant", "by.head", "eu", []string{"by.head=eu"}, false},
		{"direct behind a narrow grant", "tasks", "eu", []string{"tasks=eu"}, false},
		{"unknown behind a narrow grant", "who.knows", "eu", []string{"who.knows=eu"}, false},
		{"unknown behind #", "who.knows", "eu", []string{"who.knows=#"}, true},
		{"what means # but is not #", "news", "eu", []string{"news=#.#"}, false},
		{"the empty key", "orders", "", []string{"orders=#"}, true},
		{"the empty key behind one word", "orders", "", []string{"orders=*"}, false},
		{"a key that is too long", "orders", strings.Repeat("x", 256), []string{"orders=#"}, false},
		{"a key that is not UTF-8", "orders", "\xff", []string{"orders=#"}, false},
		{"no grant", "orders", "eu", nil, false},
		{"another case", "Orders", "eu", []string{"orders=#"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := grants(t, c.grants...).Allow(c.exchange, c.key, exchangeTypes); got != c.want {
				t.Errorf("exchange %q, key %q, grants %q: got %v", c.exchange, c.key, c.grants, got)
			}
		})
	}
	if grants(t, "orders=eu").Allow("orders", "eu", nil) {
		t.Error("a narrow grant counts although nothing is known of the exchange")
	}
	if !grants(t, "orders").Allow("orders", "a.#", nil) {
		t.Error("a grant without a pattern is not one of everything")
	}
}

func TestTouchNamesExchangesThatHaveSomethingToBind(t *testing.T) {
	for _, c := range []struct {
		exchange, grant string
		want            bool
	}{
		{"orders", "orders=eu.#", true},
		{"orders", "ord*=eu", true},
		{"news", "news=eu.#", false},
		{"news", "news=#", true},
		{"orders", "news=#", false},
	} {
		if got := grants(t, c.grant).Touch(c.exchange, exchangeTypes); got != c.want {
			t.Errorf("exchange %q, grant %q: got %v", c.exchange, c.grant, got)
		}
	}
}

func TestParseGrantRefusesWhatIsNoGlobOrPattern(t *testing.T) {
	for _, spec := range []string{"", "=#", "orders=" + strings.Repeat("x", 256), strings.Repeat("x", 256), "orders=\xff"} {
		if _, err := identity.ParseGrant(spec); err == nil {
			t.Errorf("%.20q was accepted", spec)
		}
	}
}

func TestPolicyNeverOpensWhatIsTheGatewaysOwn(t *testing.T) {
	for _, c := range []struct {
		name        string
		allow, deny []string
		open, shut  []string
	}{
		{
			name: "the default",
			open: []string{"orders", "amq.topic", "warrens", "amq.rabbitmq", "x"},
			shut: []string{"", "warren.dead", "warren.", "amq.rabbitmq.trace", "amq.rabbitmq.event"},
		},
		{
			name: "everything, by the operator's will", allow: []string{"*", "warren.*"}, deny: []string{},
			open: []string{"amq.rabbitmq.trace"},
			shut: []string{"", "warren.dead"},
		},
		{
			name: "some", allow: []string{"shop.*", "news"}, deny: []string{"*.secret"},
			open: []string{"shop.orders", "news"},
			shut: []string{"orders", "shop.secret", "amq.topic", "warren.x"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			policy, err := identity.NewPolicy(identity.PolicyOptions{Allow: c.allow, Deny: c.deny})
			if err != nil {
				t.Fatal(err)
			}
			for _, exchange := range slices.Concat(c.open, c.shut) {
				if got := policy.Allows(exchange); got != slices.Contains(c.open, exchange) {
					t.Errorf("%q: got %v", exchange, got)
				}
			}
		})
	}
	for _, options := range []identity.PolicyOptions{{Allow: []string{""}}, {Deny: []string{"a\xff"}}} {
		if _, err := identity.NewPolicy(options); !errors.Is(err, broker.ErrGlob) {
			t.Errorf("%q: got %v", options, err)
		}
	}
	if _, err := identity.NewPolicy(identity.PolicyOptions{Allow: []string{}}); err == nil {
		t.Error("an empty list of what is allowed is taken")
	}
	if (identity.Policy{}).Allows("orders") {
		t.Error("the zero Policy allows something")
	}
}

func TestAnonymousCallersAreTheirAddress(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":              "addr:192.0.2.7",
		"::ffff:192.0.2.7":       "addr:192.0.2.7",
		"2001:db8:1:2:3:4:5:6":   "addr:2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1":   "addr:2001:db8:1:2::/64",
		"2001:db8:1:3::1":        "addr:2001:db8:1:3::/64",
		"fe80::1%eth0":           "addr:fe80::/64",
		"::1":                    "addr:::/64",
		"::ffff:192.0.2.7%ether": "addr:192.0.2.7",
	} {
		id := identity.AnonymousAt(netip.MustParseAddr(address))
		if got := id.Caller(); got != want || !id.Anonymous || !id.Expires.IsZero() {
			t.Errorf("%s: got %+v with caller %s, want %s", address, id, got, want)
		}
		if !id.MayBind("orders", "#", nil) {
			t.Errorf("%s may not bind", address)
		}
	}
	if got := identity.AnonymousAt(netip.Addr{}).Caller(); got != "addr:unknown" {
		t.Errorf("no address: got %s", got)
	}
	named := identity.Identity{Subject: "192.0.2.7", Expires: time.Unix(1, 0)}
	if named.Caller() == identity.AnonymousAt(netip.MustParseAddr("192.0.2.7")).Caller() {
		t.Error("a subject can pass for an address")
	}
	if named.MayBind("orders", "#", exchangeTypes) {
		t.Error("no claim, but a binding")
	}
}

func TestATokenTightensTheLimitOfSubscriptions(t *testing.T) {
	for said, want := range map[int]int{0: 50, 3: 3, 100: 50, -1: 0} {
		if got := (identity.Identity{MaxSubscriptions: said}).SubscriptionLimit(50); got != want {
			t.Errorf("%d: got %d, want %d", said, got, want)
		}
	}
}
