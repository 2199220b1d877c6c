package suite

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/coder/websocket"
)

func init() {
	register(
		Check{Name: "attach by query and by id on both transports", Of: []string{"P-32", "P-34", "P-35"}, Run: attachReady},
		Check{Name: "publish right after ready", Of: []string{"P-33"}, Run: attachThenPublish},
		Check{Name: "attach many readers to one subscription", Of: []string{"P-36"}, Run: attachMany},
		Check{Name: "attach with each kind of Accept", Of: []string{"P-37", "P-38"}, Run: attachAccept},
		Check{Name: "attach with each kind of handshake", Of: []string{"P-39", "P-40"}, Run: attachHandshake},
		Check{Name: "attach with queries that are wrong", Of: []string{"P-41", "P-42", "P-43", "P-44", "P-46"}, Run: attachQueries},
		Check{Name: "attach a WebSocket without bindings", Of: []string{"P-45"}, Run: attachEmpty},
	)
}

func attachReady(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a.#"))
	shared := query("exchange", x, "routing_key", "a.#")
	for _, c := range []struct {
		stream *Stream
		owned  bool
	}{
		{s.SSE(), true},
		{s.WS(), true},
		{t.SSE("/v1/sse"+shared, nil), false},
		{t.WS("/v1/ws"+shared, nil), false},
		{t.SSE("/v1/sse"+shared+"&share=false", nil), true},
		{t.WS("/v1/ws"+shared+"&share=false", nil), true},
	} {
		f := c.stream.Next()
		t.Is("P-32", f.Type() == "ready", "%s: %s", c.stream.name, f)
		stream := str(f.object, "stream")
		_, has := f.object["subscription"]
		t.Is("P-34", stream != "" && f.object["resumed"] == false && keys(list(f.object, "bindings")) == x+" a.#" && has == c.owned,
			"stream %s, bindings [%s], subscription there: %v", stream, keys(list(f.object, "bindings")), has)
		t.Is("P-35", f.ID() == stream+".0", "%s on an empty log", short(f.ID()))
		if id := str(f.object, "subscription"); id != "" && id != s.ID {
			t.deleteLater("/v1/subscriptions/" + id)
		}
	}
}

func attachThenPublish(t *T) {
	for _, share := range []string{"true", "false"} {
		x := t.Exchange("topic")
		q := query("exchange", x, "routing_key", "a.#", "share", share)
		sse := t.SSE("/v1/sse"+q, nil)
		sse.Ready()
		t.Publish(x, "a.b", "m1")
		one := sse.Bodies(1) // it has come before the next attaches
		ws := t.WS("/v1/ws"+q, nil)
		ws.Ready()
		t.Publish(x, "a.b", "m2")
		one, two := one+" "+sse.Bodies(1), ws.Bodies(1)
		t.Is("P-33", one == "m1 m2" && two == "m2", "published right after ready: SSE %s, WebSocket %s", one, two)
	}
}

func attachMany(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	t.Publish(x, "a", "m1", "m2")
	all := s.SSE("from", "earliest")
	all.Ready()
	all.Bodies(2) // they have come before the others attach
	streams := []*Stream{s.SSE("from", "earliest"), s.WS("from", "earliest"), s.SSE("last", "1"), s.WS("from", "latest")}
	for _, stream := range streams {
		stream.Ready()
	}
	t.Publish(x, "a", "m3", "m4")
	for i, want := range []string{"m1 m2 m3 m4", "m1 m2 m3 m4", "m2 m3 m4", "m3 m4"} {
		got := streams[i].Bodies(strings.Count(want, "m"))
		t.Is("P-36", got == want, "four readers, each from its own place, the last: %s", got)
	}
}

func attachAccept(t *T) {
	s := t.Create(on())
	for _, accept := range [][]string{{"text/event-stream"}, nil, {"*/*"}, {"application/json"}} {
		stream := t.SSE(s.Path+"/sse", http.Header{"Accept": accept})
		stream.Ready()
		t.Is("P-37", stream.Status == http.StatusOK && stream.Header.Get("Content-Type") == "text/event-stream", "Accept %v: %d %s",
			accept, stream.Status, stream.Header.Get("Content-Type"))
		ms, err := strconv.Atoi(stream.Retry())
		t.Is("P-38", err == nil && ms > 0, "retry: %s", stream.Retry())
	}
}

func attachHandshake(t *T) {
	s := t.Create(on())
	for offer, want := range map[string]string{"warren.v1": "warren.v1", "other, warren.v1": "warren.v1", "other": "", "": ""} {
		o := &websocket.DialOptions{}
		if offer != "" {
			o.Subprotocols = strings.Split(offer, ", ")
		}
		ws := t.dial(s.Path+"/ws", o)
		ws.Ready()
		got := ws.Header.Get("Sec-Websocket-Protocol")
		t.Is("P-39", ws.Status == http.StatusSwitchingProtocols && got == want, "offered %q: %d, %q", offer, ws.Status, got)
	}
	handshake := func(version string) []string {
		return []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", version, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	}
	for what, pairs := range map[string][]string{"plain GET": nil, "version 8": handshake("8"), "no upgrade": {"Sec-WebSocket-Version", "13"}} {
		for _, path := range []string{s.Path + "/ws", "/v1/ws"} {
			r := t.Get(path, pairs...)
			says := strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Proto > 1 // HTTP/2 has no such header (RFC 9113, 8.2.2)
			t.Is("P-40", r.Refused(426, "upgrade_required", "") && says, "%s: %s, Upgrade: %s", what, r, r.Header.Get("Upgrade"))
		}
	}
}

func attachQueries(t *T) {
	x := t.Exchange("topic")
	array := text(on(x, "#"))
	s := t.Create(on(x, "#"))
	for _, c := range []struct{ id, query, field string }{
		{"P-41", query("exchange", x, "exchange", x, "routing_key", "a"), "routing_key"},
		{"P-41", query("exchange", x, "routing_key", "a", "routing_key", "b"), "routing_key"},
		{"P-42", query("exchange", x, "bindings", array), "bindings"},
		{"P-42", "", "exchange"},
		{"P-43", query("exchange", x, "routing_key", ""), "routing_key"},
		{"P-43", "?exchange=" + x + "&routing_key=#", "routing_key"},
		{"P-44", query("exchange", x, "routingkey", "a"), "routingkey"},
		{"P-44", query("exchange", x, "payload", "json"), "payload"},
		{"P-44", query("exchange", x, "share", "no"), "share"},
		{"P-44", query("exchange", x, "from", "now"), "from"},
		{"P-44", query("exchange", x, "last", "-1"), "last"},
		{"P-44", query("exchange", x, "linger_seconds", "5"), "linger_seconds"},
		{"P-44", query("bindings", `[{"exchange":"`+x+`","routing_key":"#","queue":"q"}]`), "queue"},
	} {
		path := strings.Replace(c.query, "#", "", 1) // what a browser makes of it
		r := t.Get("/v1/sse"+path, "Accept", "text/event-stream")
		t.Is(c.id, r.Refused(400, "invalid_request", c.field), "%s: %s", c.query, r)
		if c.query == "" {
			continue
		}
		ws := t.WS("/v1/ws"+path, nil)
		f := ws.Next()
		code, reason := ws.Closed()
		t.Is("P-46", ws.Status == 101 && f.Type() == "bye" && num(f.object, "code") == 4400 && code == 4400 && reason == "invalid_request",
			"%s: %d, %s, closed with %d %s", c.query, ws.Status, f, code, reason)
	}
	r := t.Get(s.Path+"/sse"+query("payload", "raw"), "Accept", "text/event-stream")
	t.Is("P-44", r.Refused(400, "invalid_request", "payload"), "unknown parameters and values are refused; payload by id: %s", r)
	empty := t.SSE("/v1/sse"+query("bindings", text(on(x, ""))), nil)
	f := empty.Ready()
	t.Is("P-43", keys(list(f.object, "bindings")) == x+" ", "refused, and bindings= carries an empty key: [%s]", keys(list(f.object, "bindings")))
}

func attachEmpty(t *T) {
	ws := t.WS("/v1/ws", nil)
	f := ws.Ready()
	id := str(f.object, "subscription")
	r := t.Get("/v1/subscriptions/" + id)
	t.Is("P-45", r.Status == http.StatusOK && len(list(r.Body, "bindings")) == 0 && num(r.Body, "attachments", "ws") == 1 && str(r.Body, "stream") == str(f.object, "stream"),
		"ready with subscription of %d digits; it has %d bindings and %d WebSocket", len(id), len(list(r.Body, "bindings")), num(r.Body, "attachments", "ws"))
}
