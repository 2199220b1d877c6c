package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// handler serves one method of one route. What it returns is answered by refuse;
// it has then written nothing.
type handler func(w http.ResponseWriter, r *http.Request, c caller) error

// methods are the handlers of one route by method. HEAD comes with GET, and
// OPTIONS with everything.
type methods map[string]handler

// Content-Security-Policy of answers that are no pages, and of the inspector's.
const (
	apiPolicy  = "default-src 'none'; frame-ancestors 'none'"
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// routes returns the router with every row of the contract's REST table.
func (a *API) routes() (http.Handler, error) {
	r := chi.NewRouter()
	r.NotFound(a.noRoute)
	r.MethodNotAllowed(a.noMethod)

	a.rest(r, "/v1/subscriptions", methods{"GET": a.listSubscriptions, "POST": a.createSubscription})
	a.rest(r, "/v1/subscriptions/{id}", methods{
		"GET": a.getSubscription, "PATCH": a.patchSubscription, "DELETE": a.deleteSubscription,
	})
	a.rest(r, "/v1/subscriptions/{id}/bindings", methods{"POST": a.addBindings, "PUT": a.replaceBindings})
	a.rest(r, "/v1/subscriptions/{id}/bindings/{binding_id}", methods{"DELETE": a.deleteBinding})
	a.rest(r, "/v1/subscriptions/{id}/pause", methods{"POST": a.pauseSubscription})
	a.rest(r, "/v1/subscriptions/{id}/resume", methods{"POST": a.resumeSubscription})
	a.rest(r, "/v1/exchanges", methods{"GET": a.listExchanges})
	if a.opts.Publisher != nil {
		a.rest(r, "/v1/exchanges/{name}", methods{"PUT": a.declareExchange})
		a.rest(r, "/v1/exchanges/{name}/publish", methods{"POST": a.publish})
	}
	a.route(r, endpointSSE, "/v1/sse", methods{"GET": a.streamByBindings})
	a.route(r, endpointSSE, "/v1/subscriptions/{id}/sse", methods{"GET": a.streamByID})
	a.route(r, endpointWS, "/v1/ws", methods{"GET": a.socketByBindings})
	a.route(r, endpointWS, "/v1/subscriptions/{id}/ws", methods{"GET": a.socketByID})

	if err := a.static(r); err != nil {
		return nil, err
	}
	return r, nil
}

// rest adds a route whose caller must be known.
func (a *API) rest(r chi.Router, pattern string, m methods) {
	for method, h := range m {
		m[method] = func(w http.ResponseWriter, r *http.Request, c caller) error {
			if c.tokenless {
				return errTokenMissing()
			}
			return h(w, r, c)
		}
	}
	a.route(r, endpointREST, pattern, m)
}

// route adds a route: identity, the rate of requests, and then the handler.
func (a *API) route(r chi.Router, kind endpoint, pattern string, m methods) {
	a.handle(r, kind, pattern, m, func(w http.ResponseWriter, r *http.Request, h handler) error {
		if kind == endpointWS {
			if err := transport.CheckUpgrade(r); err != nil {
				return err
			}
		}
		c, err := a.identify(r, kind)
		if err != nil {
			return err
		}
		return h(w, r, c)
	})
}

// handle adds a route with what HTTP asks of all: HEAD, OPTIONS, 405 with Allow.
func (a *API) handle(r chi.Router, kind endpoint, pattern string, m methods, serve func(http.ResponseWriter, *http.Request, handler) error) {
	if get, ok := m["GET"]; ok {
		m["HEAD"] = get
	}
	allow := allowHeader(m)
	a.allow[pattern] = allow
	r.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(w, r, kind)
		h, ok := m[r.Method]
		switch {
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
		case !ok:
			a.noMethod(w, r)
		default:
			if err := serve(w, r, h); err != nil {
				a.refuse(w, r, kind, err)
			}
		}
	})
}

func allowHeader(m methods) string {
	var names []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		if _, ok := m[method]; ok {
			names = append(names, method)
		}
	}
	return strings.Join(append(names, "OPTIONS"), ", ")
}

func (a *API) noRoute(w http.ResponseWriter, r *http.Request) {
	a.refuse(w, r, endpointREST, broker.Errorf(broker.CodeNotFound, "there is nothing at this path"))
}

// noMethod is for methods that a route does not have, among them those that
// chi has never heard of: then only the path says which route it would be.
func (a *API) noMethod(w http.ResponseWriter, r *http.Request) {
	allow := a.allow[routePattern(r)]
	if rc := chi.RouteContext(r.Context()); allow == "" && rc != nil {
		found := chi.NewRouteContext()
		if rc.Routes.Match(found, http.MethodGet, routePath(r)) {
			allow = a.allow[found.RoutePattern()]
		}
	}
	if allow == "" {
		a.noRoute(w, r)
		return
	}
	w.Header().Set("Allow", allow)
	a.refuse(w, r, endpointREST, broker.Errorf(broker.CodeMethodNotAllowed, "this path answers to "+allow))
}

// routePath is the path that chi routes by: as it was sent, where that is not how Go writes it.
func routePath(r *http.Request) string {
	if r.URL.RawPath != "" {
		return r.URL.RawPath
	}
	return r.URL.Path
}

// parameter returns a part of the path, decoded: chi routes by the raw path, so
// that a %2F in a name is no new segment.
func parameter(r *http.Request, name string) string {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return value // cannot be: net/http has parsed the path
	}
	return decoded
}

// SetSecurityHeaders sets what every answer of the gateway has, whoever asks: it
// is what it says it is, no other site may use it, and nobody keeps it.
func SetSecurityHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// guard is what every request passes first: security headers, and the checks of
// Host and Origin. Probes come by address from anywhere and pass without. Each
// answer has a bound of time from here on, which streams take off.
func (a *API) guard(next http.Handler) http.Handler {
	checked := a.origins.cors()(next)
	health := a.health()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		SetSecurityHeaders(h)
		h.Set("Content-Security-Policy", apiPolicy)
		limitAnswer(w)
		if len(r.TransferEncoding) > 0 {
			// It may have had a Content-Length, too, which net/http takes away: a proxy that went by
			// that would see other requests behind this one than we do (RFC 9112, section 6.3).
			h.Set("Connection", "close")
		}
		if path := routePath(r); path == "/livez" || path == "/readyz" {
			health.ServeHTTP(w, r) // has these two, so that it finds nothing unknown
			return
		}
		if !a.origins.servesHost(r.Host) {
			a.refuse(w, r, endpointREST, broker.Errorf(broker.CodeWrongHost, "the gateway does not serve this host name; --public-url names it"))
			return
		}
		if err := a.origins.checkOrigin(r); err != nil {
			h.Set("Vary", "Origin")
			a.refuse(w, r, endpointREST, err)
			return
		}
		checked.ServeHTTP(w, r)
	})
}
