package api_test

import (
	"testing"
)

func TestPreflightLetsEventSourcesOfListedOriginsIn(t *testing.T) {
	const page = "https://page.example"
	g := newGateway(t, func(s *setup) { s.options.AllowOrigins = []string{page} })
	preflight := func(headers string) answer {
		return g.do("OPTIONS", "/v1/sse", "", "Origin", page, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", headers)
	}
	a := preflight("authorization,cache-control,content-type,last-event-id")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": page, "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "GET",
		"Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, Last-Event-Id", "Allow": "GET, HEAD, OPTIONS",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a.status != 204 || len(a.body) > 0 {
		t.Errorf("status %d", a.status)
	}
	if got := preflight("x-other").header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a header that is not allowed: %q", got)
	}
	b := g.do("GET", "/v1/exchanges", "", "Origin", page)
	if b.header.Get("Access-Control-Expose-Headers") != "Location, Retry-After" || b.header.Get("Access-Control-Allow-Origin") != page {
		t.Errorf("answer %v", b.header)
	}
	refused := g.do("GET", "/v1/subscriptions/nope", "", "Origin", page) // a page can read why
	if refused.header.Get("Access-Control-Allow-Origin") != page {
		t.Errorf("refusal %v", refused.header)
	}
	c := g.do("OPTIONS", "/v1/sse", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "GET")
	if c.problem(t).Code != "forbidden_origin" || c.header.Get("Access-Control-Allow-Origin") != "" || c.header.Get("Vary") != "Origin" {
		t.Errorf("foreign preflight: %d %v", c.status, c.header)
	}
}

func TestForwardedAddressesCountFromTrustedProxiesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		trusted []string
		limited bool
	}{
		"trusted": {[]string{"127.0.0.0/8"}, false}, "trusted, written as IPv6": {[]string{"::ffff:127.0.0.0/104"}, false},
		"not trusted": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, func(s *setup) {
				s.options.TrustedProxies = c.trusted
				s.bounds.RequestRate, s.bounds.RequestBurst = 0.01, 1
			})
			g.do("GET", "/v1/exchanges", "", "X-Forwarded-For", "203.0.113.1")
			if got := g.do("GET", "/v1/exchanges", "", "X-Forwarded-For", "203.0.113.2").status == 429; got != c.limited {
				t.Errorf("another address behind the proxy is limited: %v", got)
			}
			// A client's own entry is left of what the proxy adds.
			if got := g.do("GET", "/v1/exchanges", "", "X-Forwarded-For", "198.51.100.9, 203.0.113.1").status; got != 429 {
				t.Errorf("a made-up address is believed: %d", got)
			}
		})
	}
}
