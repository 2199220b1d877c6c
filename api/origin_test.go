package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// originCase is one request and whether Host and Origin are good.
type originCase struct {
	name, listen, public string
	listenName           string
	allow                []string
	host, origin, site   string
	arrived              string // the address that the connection came to
	wrongHost, refused   bool
}

func (c originCase) request(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/exchanges", nil)
	r.Host = c.host
	for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if c.arrived == "" {
		return r
	}
	local, err := net.ResolveTCPAddr("tcp", c.arrived)
	if err != nil {
		t.Fatal(err)
	}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
}

func TestOriginsAndHosts(t *testing.T) {
	const loopback, wildcard, named = "127.0.0.1:8080", "0.0.0.0:8080", "10.0.0.5:8080"
	cases := []originCase{
		{name: "no origin", listen: loopback, host: "localhost:8080"},
		{name: "own by name", listen: loopback, host: "localhost:8080", origin: "http://localhost:8080"},
		{name: "own by address", listen: loopback, host: "127.0.0.1:8080", origin: "http://127.0.0.1:8080"},
		{name: "own, IPv6", listen: loopback, host: "[::1]:8080", origin: "http://[::1]:8080"},
		{name: "own name, other case", listen: loopback, host: "LOCALHOST:8080", origin: "http://Localhost:8080"},
		{name: "through a tunnel", listen: loopback, host: "localhost:9999", origin: "http://localhost:9999"},
		{name: "another server on this host", listen: loopback, host: "localhost:8080", origin: "http://localhost:3000", refused: true},
		{name: "rebound name", listen: loopback, host: "evil.example:8080", origin: "http://evil.example:8080", wrongHost: true},
		{name: "rebound name without port", listen: loopback, host: "evil.example", wrongHost: true},
		{name: "name with a dot", listen: loopback, host: "localhost.:8080", wrongHost: true},
		{name: "no host", listen: loopback, host: "", wrongHost: true},
		{name: "suffix trick", listen: loopback, host: "localhost.evil.example", wrongHost: true},
		{name: "foreign", listen: loopback, host: "localhost:8080", origin: "https://evil.example", refused: true},
		{name: "null", listen: loopback, host: "localhost:8080", origin: "null", refused: true},
		{name: "file", listen: loopback, host: "localhost:8080", origin: "file://localhost:8080", refused: true},
		{name: "with a path", listen: loopback, host: "localhost:8080", origin: "http://localhost:8080/", refused: true},
		{name: "user info", listen: loopback, host: "localhost:8080", origin: "http://localhost:8080@evil.example", refused: true},
		{name: "user info before the own name", listen: loopback, host: "localhost:8080", origin: "http://evil@localhost:8080", refused: true},
		{name: "with a query", listen: loopback, host: "localhost:8080", origin: "http://localhost:8080?x", refused: true},
		{name: "with a fragment", listen: loopback, allow: []string{"https://a.example"}, host: "localhost:8080", origin: "https://a.example#x", refused: true},
		{name: "cross-site without origin", listen: loopback, host: "localhost:8080", site: "cross-site", refused: true},
		{name: "same-site without origin", listen: loopback, host: "localhost:8080", site: "same-site"},
		{name: "cross-site of a listed one", listen: loopback, allow: []string{"https://a.example"}, host: "localhost:8080", origin: "https://a.example", site: "cross-site"},
		{name: "listed, default port written", listen: loopback, allow: []string{"https://a.example:443"}, host: "localhost:8080", origin: "https://a.example"},
		{name: "listed, other port", listen: loopback, allow: []string{"https://a.example"}, host: "localhost:8080", origin: "https://a.example:444", refused: true},
		{name: "listed, other scheme", listen: loopback, allow: []string{"https://a.example"}, host: "localhost:8080", origin: "http://a.example", refused: true},
		{name: "listed as prefix", listen: loopback, allow: []string{"https://a.example"}, host: "localhost:8080", origin: "https://a.example.evil", refused: true},
		{name: "wildcard", listen: loopback, allow: []string{"https://*.example.org"}, host: "localhost:8080", origin: "https://a.b.example.org"},
		{name: "wildcard is not the domain", listen: loopback, allow: []string{"https://*.example.org"}, host: "localhost:8080", origin: "https://example.org", refused: true},
		{name: "wildcard is a label", listen: loopback, allow: []string{"https://*.example.org"}, host: "localhost:8080", origin: "https://evilexample.org", refused: true},
		{name: "public", listen: wildcard, public: "https://w.example", host: "w.example", origin: "https://w.example"},
		{name: "public, other host", listen: wildcard, public: "https://w.example", host: "10.0.0.5:8080", wrongHost: true},
		{name: "public, page without TLS", listen: wildcard, public: "https://w.example", host: "w.example", origin: "http://w.example", refused: true},
		{name: "public http behind TLS", listen: wildcard, public: "http://w.example:443", host: "w.example", origin: "https://w.example"},
		{name: "any host without a public URL", listen: wildcard, host: "w.example:8080"},
		{name: "rebound name has no own origin", listen: wildcard, host: "evil.example:8080", origin: "http://evil.example:8080", arrived: "10.0.0.5:8080", refused: true},
		{name: "address it arrived at", listen: wildcard, host: "10.0.0.5:8080", origin: "http://10.0.0.5:8080", arrived: "10.0.0.5:8080"},
		{name: "address it did not arrive at", listen: wildcard, host: "10.0.0.6:8080", origin: "http://10.0.0.6:8080", arrived: "10.0.0.5:8080", refused: true},
		{name: "listen address behind TLS", listen: named, host: "10.0.0.5:8080", origin: "https://10.0.0.5:8080"},
	}
	tryOrigins(t, cases)
}

func TestNameOfTheListenAddressIsAnOwnOne(t *testing.T) {
	const loopback, wildcard, network = "127.0.0.1:8080", "0.0.0.0:8080", "10.0.0.5:8080"
	tryOrigins(t, []originCase{
		{name: "name it was given", listen: loopback, listenName: "Gate.internal", host: "gate.internal:8080", origin: "http://GATE.internal:8080"},
		{name: "name it was given, through a tunnel", listen: loopback, listenName: "gate.internal", host: "gate.internal:9999", origin: "http://gate.internal:9999"},
		{name: "other name beside that", listen: loopback, listenName: "gate.internal", host: "evil.example:8080", wrongHost: true},
		{name: "name of an address in the network", listen: network, listenName: "gate.internal", host: "gate.internal:8080", origin: "http://gate.internal:8080"},
		{name: "public URL in place of the name", listen: loopback, listenName: "gate.internal", public: "https://w.example", host: "gate.internal:8080", wrongHost: true},
		{name: "all addresses are no name", listen: wildcard, listenName: "0.0.0.0", host: "10.0.0.5:8080", origin: "http://0.0.0.0:8080", arrived: "10.0.0.5:8080"},
	})
}

func tryOrigins(t *testing.T, cases []originCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o, err := newOrigins(c.listen, c.listenName, c.public, c.allow)
			if err != nil {
				t.Fatal(err)
			}
			r := c.request(t)
			if got := !o.servesHost(r.Host); got != c.wrongHost {
				t.Errorf("wrong host: %v", got)
			}
			if c.wrongHost {
				return
			}
			if err := o.checkOrigin(r); (err != nil) != c.refused {
				t.Errorf("origin: %v", err)
			}
		})
	}
}

func TestTwoOriginsAreNone(t *testing.T) {
	o, err := newOrigins("127.0.0.1:80", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Add("Origin", "http://localhost")
	r.Header.Add("Origin", "http://evil.example")
	if o.checkOrigin(r) == nil {
		t.Error("the second origin is not looked at")
	}
}

func TestLinkFromAnotherSiteOpensTheInspectorAlone(t *testing.T) {
	o, err := newOrigins("127.0.0.1:80", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, allowed := range map[string]bool{"/": true, "/v1/sse": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		for name, value := range map[string]string{"Site": "cross-site", "Mode": "navigate", "Dest": "document"} {
			r.Header.Set("Sec-Fetch-"+name, value)
		}
		if err := o.checkOrigin(r); (err == nil) != allowed {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWrongOriginOptionsAreErrors(t *testing.T) {
	for _, c := range []struct{ listen, public, allow string }{
		{listen: "nowhere"},
		{listen: ":1", public: "w.example"},
		{listen: ":1", public: "https://w.example/path"},
		{listen: ":1", allow: "*"},
		{listen: ":1", allow: "https://*"},
		{listen: ":1", allow: "https://*.*.org"},
		{listen: ":1", allow: "https://a*.org"},
		{listen: ":1", allow: "ftp://a.example"},
		{listen: ":1", allow: "https://u@a.example"},
	} {
		var allow []string
		if c.allow != "" {
			allow = []string{c.allow}
		}
		if _, err := newOrigins(c.listen, "", c.public, allow); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
