package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/go-chi/cors"

	"github.com/warren-gateway/warren/broker"
)

// origins says which hosts the gateway answers to, and whose pages may use it.
type origins struct {
	// hosts are the only Host names served; nil serves any. Ports do not
	// matter: a rebound name is a name of somebody else's, whatever its port.
	hosts map[string]bool
	// own are the gateway's own host:port, lower case.
	own map[string]bool
	// wildcard is the port of a listener on all addresses: a page may then come
	// from any literal address that the connection itself arrived at.
	wildcard string
	// secure says that the public URL is https: then no http page is our own.
	secure  bool
	allowed []originPattern
}

// originPattern is an origin, or with a suffix all below a domain.
type originPattern struct{ exact, scheme, suffix, port string }

// newOrigins reads where the gateway listens (host:port), by which name if it was
// given one, its public URL if it has one, and the foreign origins it allows.
func newOrigins(listen, name, public string, allow []string) (*origins, error) {
	o := &origins{own: map[string]bool{}}
	var err error
	if public == "" {
		err = o.ownListener(listen, name)
	} else {
		err = o.ownURL(public)
	}
	if err != nil {
		return nil, err
	}
	for _, text := range allow {
		p, err := parseOriginPattern(text)
		if err != nil {
			return nil, fmt.Errorf("allowed origin %q: %w", text, err)
		}
		o.allowed = append(o.allowed, p)
	}
	return o, nil
}

// ownURL makes the public URL the gateway's own.
func (o *origins) ownURL(public string) error {
	u, err := parseOrigin(public)
	if err != nil {
		return fmt.Errorf("public URL: %w", err)
	}
	o.secure = u.Scheme == "https"
	o.hosts = map[string]bool{strings.ToLower(u.Hostname()): true}
	o.own[hostPort(u)] = true
	return nil
}

// ownListener makes the listen address the gateway's own, with the name that it was
// given by: the operator's word, while a name that a client says may be anybody's.
func (o *origins) ownListener(listen, name string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen address: %w", err)
	}
	own := []string{"localhost", strings.ToLower(host)}
	if _, err := netip.ParseAddr(name); err != nil && name != "" {
		own = append(own, strings.ToLower(name))
	}
	address, _ := netip.ParseAddr(host)
	switch {
	case host == "localhost" || address.IsLoopback():
		own = append(own, "127.0.0.1", "::1")
		o.hosts = map[string]bool{}
		for _, name := range own {
			o.hosts[name] = true
		}
	case host == "" || address.IsUnspecified():
		o.wildcard = port
	}
	for _, name := range own {
		o.own[net.JoinHostPort(name, port)] = true
	}
	return nil
}

// parseOrigin reads scheme://host[:port], with nothing after it but a slash.
func parseOrigin(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the scheme must be http or https")
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("only a scheme, a host and a port are possible")
	}
	return u, nil
}

func parseOriginPattern(text string) (originPattern, error) {
	u, err := parseOrigin(text)
	if err != nil {
		return originPattern{}, err
	}
	host := strings.ToLower(u.Hostname())
	suffix, wild := strings.CutPrefix(host, "*")
	if strings.Contains(suffix, "*") || wild && (len(suffix) < 2 || suffix[0] != '.') {
		return originPattern{}, fmt.Errorf("a wildcard stands for the first labels of a domain alone, as in https://*.example.org")
	}
	p := originPattern{scheme: u.Scheme, port: portOf(u)}
	if wild {
		p.suffix = suffix
	} else {
		p.exact = host
	}
	return p, nil
}

func (p originPattern) match(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if u.Scheme != p.scheme || portOf(u) != p.port {
		return false
	}
	if p.suffix == "" {
		return host == p.exact
	}
	return strings.HasSuffix(host, p.suffix) && len(host) > len(p.suffix)
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

func hostPort(u *url.URL) string {
	return net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u))
}

// servesHost guards against DNS rebinding: a page of evil.example whose name
// suddenly means 127.0.0.1 still says Host: evil.example.
func (o *origins) servesHost(host string) bool {
	return o.hosts == nil || o.hosts[strings.ToLower(hostname(host))]
}

// hostname cuts the port off a Host header.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// allows reports whether pages of the origin may use the gateway.
func (o *origins) allows(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || !strings.EqualFold(u.Scheme+"://"+u.Host, origin) {
		return false // "null" among them, and whatever has more than scheme, host and port
	}
	for _, p := range o.allowed {
		if p.match(u) {
			return true
		}
	}
	return o.isOwn(r, u)
}

// isOwn compares by host: a TLS proxy in front changes the scheme.
func (o *origins) isOwn(r *http.Request, u *url.URL) bool {
	if o.secure && u.Scheme != "https" {
		return false
	}
	if o.own[hostPort(u)] {
		return true
	}
	// A checked Host is the gateway's own name; a page that has the same host and port is
	// of one origin with it, also through a tunnel to another port.
	if o.hosts != nil && strings.EqualFold(u.Host, r.Host) && o.servesHost(r.Host) {
		return true
	}
	if o.wildcard == "" || portOf(u) != o.wildcard {
		return false
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	arrived, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return false
	}
	page, err := netip.ParseAddr(u.Hostname()) // a name could be rebound, an address cannot
	return err == nil && page.Unmap() == arrived.Addr().Unmap()
}

// checkOrigin refuses what a page of a foreign site makes a browser send.
func (o *origins) checkOrigin(r *http.Request) error {
	given := r.Header.Values("Origin")
	switch {
	case len(given) > 1:
		return broker.Errorf(broker.CodeForbiddenOrigin, "the request has more than one origin")
	case len(given) == 1 && !o.allows(r, given[0]):
		return broker.Errorf(broker.CodeForbiddenOrigin, "pages of this origin may not use this gateway; --allow-origin lets them")
	case len(given) == 0 && r.Header.Get("Sec-Fetch-Site") == "cross-site" && !isNavigation(r):
		return broker.Errorf(broker.CodeForbiddenOrigin, "a page of another site made this request, without saying which")
	}
	return nil
}

// isNavigation lets a link on another site lead to the inspector: it opens a
// page of ours, which the other site can neither read nor frame.
func isNavigation(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// cors returns the middleware that lets pages of allowed origins read answers.
func (o *origins) cors() func(http.Handler) http.Handler {
	return cors.Handler(cors.Options{
		AllowOriginFunc: o.allows,
		AllowedMethods: []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		},
		AllowedHeaders:     []string{"Authorization", "Content-Type", "Last-Event-ID", "Cache-Control"},
		ExposedHeaders:     []string{"Location", "Retry-After"},
		AllowCredentials:   true, // allows is true for the gateway's own and listed origins alone
		MaxAge:             600,
		OptionsPassthrough: true, // the router answers 204 with Allow
	})
}
