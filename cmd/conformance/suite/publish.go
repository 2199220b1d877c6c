package suite

import (
	"net/http"
	"strings"
)

func init() {
	register(
		Check{Name: "declare exchanges in memory", Of: []string{"P-183", "P-187"}, Needs: Memory, Run: publishDeclare},
		Check{Name: "publish in memory", Of: []string{"P-184", "P-185", "P-186"}, Needs: Memory, Run: publishMessages},
		Check{Name: "route by each type of exchange", Of: []string{"P-188"}, Run: publishRoutes},
		Check{Name: "declare and publish with a broker behind", Of: []string{"P-189"}, Needs: AMQP, Run: publishReadOnly},
	)
}

func publishDeclare(t *T) {
	for _, kind := range []string{"topic", "direct", "fanout", "headers"} {
		path := exchangePath(t.Name())
		put := func(kind string) *Reply {
			return t.Do(Call{Method: http.MethodPut, Path: path, Body: object{"type": kind}})
		}
		first, second, bad := put(kind), put(kind), put("x-random")
		other := put(map[string]string{"topic": "direct"}[kind] + strings.Repeat("topic", btoi(kind != "topic")))
		t.Is("P-183", first.Status == 201 && second.Status == 204 && bad.Refused(400, "invalid_request", "type") && other.Refused(400, "invalid_request", "type"),
			"%s: %s, again %s, as another type %s", kind, first, second, other)
	}
	name := t.Name() + "/with/slash and space"
	t.Must(t.source.Declare(t, name, "topic"))
	s := t.Create(on(name, "#")).SSE()
	s.Ready()
	t.Publish(name, "a/b", "m1")
	f := s.Expect("message")
	t.Is("P-187", str(f.object, "exchange") == name && str(f.object, "routing_key") == "a/b", "%s: %s", exchangePath(name), f)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func publishMessages(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a.#"), "payload", "raw").SSE()
	s.Ready()
	publish := func(body object) *Reply { return t.Post(exchangePath(x)+"/publish", body) }
	yes, no := publish(object{"routing_key": "a.b", "payload": "m1"}), publish(object{"routing_key": "b", "payload": "m2"})
	t.Is("P-184", yes.Status == 200 && yes.Body["routed"] == true && no.Status == 200 && no.Body["routed"] == false, "bound: %s; not bound: %s", yes.Raw, no.Raw)
	s.Expect("message")
	for _, c := range []struct{ encoding, payload, want string }{
		{"", "plain ü", "plain ü"}, {"string", "AAEC", "AAEC"}, {"base64", "AAEC/w==", "\x00\x01\x02\xff"}, {"base64", "", ""},
	} {
		body := object{"routing_key": "a", "payload": c.payload, "properties": object{}}
		if c.encoding != "" {
			body["payload_encoding"] = c.encoding
		}
		r := publish(body)
		raw, err := payloadBytes(s.Expect("message"))
		t.Is("P-185", r.Status == 200 && err == nil && string(raw) == c.want, "%s %q came as %q", c.encoding, c.payload, raw)
	}
	bad := publish(object{"routing_key": "a", "payload": "no base64", "payload_encoding": "base64"})
	t.Is("P-185", bad.Refused(400, "invalid_request", "payload"), "string and base64 come as these bytes; no base64: %s", bad)
	gone := t.Post(exchangePath(t.Name())+"/publish", object{"routing_key": "a", "payload": "m"})
	t.Is("P-186", gone.Refused(404, "exchange_not_found", ""), "%s", gone)
}

// publishRoutes is about the exchanges and not the gateway where RabbitMQ is behind it: there it holds what reaches the client to it.
func publishRoutes(t *T) {
	type publication struct {
		key     string
		headers object
	}
	for _, c := range []struct {
		kind     string
		binding  binding
		take, no []publication
	}{
		{"topic", binding{"", "a.*.#.z", nil}, []publication{{"a.b.z", nil}, {"a.b.c.d.z", nil}}, []publication{{"a.z", nil}, {"b.b.z", nil}, {"a.b.z.y", nil}}},
		{"topic", binding{"", "#", nil}, []publication{{"", nil}, {"a.b", nil}}, nil},
		{"topic", binding{"", "*", nil}, []publication{{"a", nil}}, []publication{{"a.b", nil}}},
		{"direct", binding{"", "a.*", nil}, []publication{{"a.*", nil}}, []publication{{"a.b", nil}}},
		{"fanout", binding{"", "ignored", nil}, []publication{{"x", nil}, {"", nil}}, nil},
		{"headers", binding{"", "", object{"x-match": "all", "k": "v", "n": 1}}, []publication{{"", object{"k": "v", "n": 1, "o": 2}}}, []publication{{"", object{"k": "v"}}, {"", nil}}},
		{"headers", binding{"", "", object{"x-match": "any", "k": "v", "n": 1}}, []publication{{"", object{"k": "v"}}, {"", object{"n": 1}}}, []publication{{"", object{"k": "w"}}}},
	} {
		c.binding.Exchange = t.Exchange(c.kind)
		s := t.Create([]binding{c.binding}).WS()
		s.Ready()
		send := func(p publication, body string) {
			m := Message{Body: []byte(body)}
			if p.headers != nil {
				m.Properties = object{"headers": p.headers}
			}
			t.PublishMessage(c.binding.Exchange, p.key, m)
		}
		for _, p := range c.no {
			send(p, "no")
		}
		for _, p := range c.take {
			send(p, "yes")
			f := s.Expect("message")
			t.Is("P-188", f.Body() == "yes", "topic, direct, fanout and headers; the last: %s %q %s took %q %s", c.kind, c.binding.RoutingKey, text(c.binding.Arguments), p.key, text(p.headers))
		}
	}
}

func publishReadOnly(t *T) {
	x := t.Exchange("topic")
	put := t.Do(Call{Method: http.MethodPut, Path: exchangePath(x), Body: object{"type": "topic"}})
	post := t.Post(exchangePath(x)+"/publish", object{"routing_key": "a", "payload": "m"})
	t.Is("P-189", put.Refused(404, "not_found", "") && post.Refused(404, "not_found", ""), "PUT: %s, publish: %s", put, post)
}
