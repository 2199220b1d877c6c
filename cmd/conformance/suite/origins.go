package suite

import (
	"net"
	"net/http"
	"strings"
)

func init() {
	register(
		Check{Name: "ask from origins that are not allowed", Of: []string{"P-158", "P-159"}, Run: originsForeign},
		Check{Name: "ask for another host", Of: []string{"P-160"}, Run: originsHost},
		Check{Name: "ask from the gateway's own origin", Of: []string{"P-161", "P-162", "P-163"}, Run: originsOwn},
	)
}

func originsForeign(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	foreign := []string{"https://evil.example", "null", t.base.Scheme + "://" + t.base.Hostname() + ":1", "http://evil.example." + t.base.Hostname()}
	tried := 0
	for _, origin := range foreign {
		for _, c := range []Call{
			{Method: "GET", Path: s.Path},
			{Method: "GET", Path: s.Path + "/sse"},
			{Method: "DELETE", Path: s.Path},
			{Method: "POST", Path: "/v1/subscriptions", Body: `{}`},
			{Method: "OPTIONS", Path: s.Path},
			{Method: "GET", Path: "/openapi.yaml"},
			{Method: "OPTIONS", Path: "/v1/subscriptions", Header: header("Access-Control-Request-Method", "POST")},
		} {
			if c.Header == nil {
				c.Header = header()
			}
			c.Header.Set("Origin", origin)
			r := t.Do(c)
			tried++
			t.Is("P-158", r.Refused(403, "forbidden_origin", "") && r.Header.Get("Access-Control-Allow-Origin") == "", "%d calls and handshakes, the last: %s %s: %s",
				tried, c.Method, c.Path, r)
		}
		ws := t.WS(s.Path+"/ws", header("Origin", origin))
		t.Is("P-158", ws.Refuse != nil && ws.Status == 403, "%d calls and handshakes, the last from %s: %d", tried, origin, ws.Status)
	}
	r := t.Get(s.Path, "Sec-Fetch-Site", "cross-site")
	ws := t.WS(s.Path+"/ws", header("Sec-Fetch-Site", "cross-site"))
	link := t.Get("/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	own := t.Get(s.Path, "Sec-Fetch-Site", "same-origin")
	t.Is("P-159", r.Refused(403, "forbidden_origin", "") && ws.Status == 403 && link.Status == 200 && own.Status == 200,
		"cross-site: %s, WebSocket %d; a link to the page: %s; same-origin: %s", r, ws.Status, link, own)
}

// loopback tells whether the gateway listens where only this machine reaches it.
func (w *World) loopback() bool {
	ip := net.ParseIP(w.base.Hostname())
	return w.base.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func originsHost(t *T) {
	if !t.loopback() {
		t.Is("P-160", true, "not on loopback: any host may be served")
		return
	}
	for _, path := range []string{"/v1/subscriptions", "/", "/openapi.yaml", "/v1/ws"} {
		r := t.Do(Call{Method: http.MethodGet, Path: path, Host: "rebound.example"})
		t.Is("P-160", r.Refused(421, "wrong_host", ""), "%s: %s", path, r)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		r := t.Do(Call{Method: http.MethodGet, Path: path, Host: "rebound.example"})
		t.Is("P-160", r.Status == http.StatusOK, "421 wrong_host; %s: %s", path, r)
	}
	own := "localhost:" + t.base.Port()
	if t.options.Front != nil {
		own = t.base.Host // behind a proxy --public-url says the only one
	}
	r := t.Do(Call{Method: http.MethodGet, Path: "/v1/exchanges", Host: own})
	t.Is("P-160", r.Status == http.StatusOK, "421 wrong_host; /livez and /readyz 200; %s: %s", own, r)
}

func originsOwn(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	origin := t.base.Scheme + "://" + t.base.Host
	allowed := func(h http.Header) bool {
		return h.Get("Access-Control-Allow-Origin") == origin && h.Get("Access-Control-Allow-Credentials") == "true" &&
			strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin")
	}
	exposed := func(h http.Header) bool {
		list := strings.ToLower(h.Get("Access-Control-Expose-Headers"))
		return strings.Contains(list, "location") && strings.Contains(list, "retry-after")
	}
	headers := map[string]http.Header{
		"GET":    t.Get(s.Path, "Origin", origin).Header,
		"404":    t.Get(s.Path+"x", "Origin", origin).Header,
		"400":    t.Get("/v1/sse", "Origin", origin).Header,
		"stream": t.SSE(s.Path+"/sse", header("Origin", origin)).Header,
	}
	for what, h := range headers {
		t.Is("P-161", allowed(h), "%s: %s, credentials %s, Vary %s", what, h.Get("Access-Control-Allow-Origin"), h.Get("Access-Control-Allow-Credentials"), h.Get("Vary"))
		t.Is("P-162", exposed(h), "%s: %s", what, h.Get("Access-Control-Expose-Headers"))
	}
	ws := t.WS(s.Path+"/ws", header("Origin", origin))
	ws.Ready()
	plain := t.Get(s.Path).Header
	t.Is("P-161", plain.Get("Access-Control-Allow-Origin") == "" && strings.Contains(plain.Get("Vary"), "Origin"), "%s, credentials, Vary: Origin; without Origin none",
		headers["stream"].Get("Access-Control-Allow-Origin"))
	for path, methods := range map[string]string{"/v1/subscriptions": "POST", s.Path: "PATCH DELETE", s.Path + "/bindings": "PUT POST", s.Path + "/sse": "GET"} {
		for method := range strings.FieldsSeq(methods) {
			r := t.Do(Call{Method: http.MethodOptions, Path: path, Header: header("Origin", origin, "Access-Control-Request-Method", method,
				"Access-Control-Request-Headers", "authorization,cache-control,content-type,last-event-id")})
			names := strings.ToLower(r.Header.Get("Access-Control-Allow-Headers"))
			ok := r.Status == http.StatusNoContent && allowed(r.Header) && strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), method)
			for _, name := range []string{"authorization", "content-type", "last-event-id", "cache-control"} {
				ok = ok && strings.Contains(names, name)
			}
			t.Is("P-163", ok, "%s %s: %s, methods %s, headers %s", method, path, r, r.Header.Get("Access-Control-Allow-Methods"), names)
		}
	}
}
