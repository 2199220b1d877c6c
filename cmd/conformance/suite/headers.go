package suite

import (
	"net/http"
	"net/url"
	"strings"
)

func init() {
	register(
		Check{Name: "look at the headers of every kind of answer", Of: []string{"P-164", "P-165", "P-166", "P-167"}, Run: headersAll},
		Check{Name: "follow links and Location", Of: []string{"P-168"}, Run: headersLinks},
		Check{Name: "end an HTTP/1.1 stream of a client that sends Connection: close", Of: []string{"P-171"}, Run: headersClose},
	)
}

func headersAll(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	stream := t.SSE(s.Path+"/sse", header("Accept", "text/event-stream", "Accept-Encoding", "gzip, br, zstd"))
	stream.Ready()
	h := stream.Header
	t.Is("P-164", h.Get("Cache-Control") == "no-store, no-transform" && h.Get("X-Accel-Buffering") == "no" && h.Get("Content-Encoding") == "",
		"Cache-Control: %s; X-Accel-Buffering: %s; Content-Encoding: %q", h.Get("Cache-Control"), h.Get("X-Accel-Buffering"), h.Get("Content-Encoding"))
	all := map[string]http.Header{"SSE": h}
	for _, c := range []Call{
		{Method: "GET", Path: s.Path},
		{Method: "HEAD", Path: s.Path},
		{Method: "OPTIONS", Path: s.Path},
		{Method: "GET", Path: "/v1/exchanges"},
		{Method: "GET", Path: "/v1/subscriptions"},
		{Method: "GET", Path: "/v1/nothing"},
		{Method: "PUT", Path: s.Path},
		{Method: "GET", Path: s.Path + "/ws"},
		{Method: "GET", Path: s.Path, Header: header("Origin", "https://evil.example")},
		{Method: "GET", Path: s.Path, Host: "rebound.example"},
		{Method: "GET", Path: "/"},
		{Method: "GET", Path: "/warren.js"},
		{Method: "GET", Path: "/openapi.yaml"},
		{Method: "GET", Path: "/livez"},
		{Method: "GET", Path: "/readyz"},
		{Method: "GET", Path: "/nothing"},
		{Method: "POST", Path: "/v1/subscriptions", Body: "{"},
		{Method: "DELETE", Path: s.Path},
	} {
		r := t.Do(c)
		name := c.Method + " " + strings.Replace(c.Path, s.ID, "{id}", 1)
		all[name+" "+statusText(r.Status)] = r.Header
		if strings.HasPrefix(c.Path, "/v1") {
			t.Is("P-165", r.Header.Get("Cache-Control") == "no-store", "%s %s: %s", name, r, r.Header.Get("Cache-Control"))
		}
	}
	for name, h := range all {
		t.Is("P-166", h.Get("X-Content-Type-Options") == "nosniff" && h.Get("Referrer-Policy") == "no-referrer" &&
			h.Get("Cross-Origin-Resource-Policy") == "same-origin" && h.Get("Cross-Origin-Opener-Policy") == "same-origin", "%d kinds of answers, one: %s", len(all), name)
		csp := h.Get("Content-Security-Policy")
		t.Is("P-167", csp != "" && !strings.Contains(csp, "unsafe-inline"), "%d kinds of answers, one: %s: %s", len(all), name, csp)
	}
}

func headersLinks(t *T) {
	r := t.TryCreate(`{}`)
	from, err := url.Parse(t.URL("/v1/subscriptions"))
	t.Must(err)
	follow := func(ref string) string {
		to, err := from.Parse(ref)
		t.Must(err)
		return strings.TrimPrefix(to.String(), strings.TrimSuffix(t.base.String(), "/"))
	}
	self := t.Get(follow(r.Header.Get("Location")))
	sse := t.SSE(follow(str(r.Body, "links", "sse")), nil)
	ws := t.WS(follow(str(r.Body, "links", "ws")), nil)
	t.Is("P-168", self.Status == http.StatusOK && str(self.Body, "id") == str(r.Body, "id") && sse.Ready() != nil && ws.Ready() != nil,
		"Location %s: %s; links.sse and links.ws: ready", r.Header.Get("Location"), self)
}

func headersClose(t *T) {
	s := t.Create(on())
	transport := newTransport()
	transport.DisableKeepAlives = true // sends Connection: close
	transport.ForceAttemptHTTP2 = false
	transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	defer transport.CloseIdleConnections()
	stream := t.sseOn(transport, s.Path+"/sse", nil)
	stream.Ready()
	t.Do(Call{Method: http.MethodDelete, Path: s.Path})
	bye := stream.Expect("bye")
	err := stream.End()
	t.Is("P-171", bye.Type() == "bye" && err != nil && err.Error() == "EOF", "%s, then the end of the response: %v", bye, err)
}
