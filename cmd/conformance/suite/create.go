package suite

import (
	"net/http"
	"strings"
	"time"
)

func init() {
	register(
		Check{Name: "create a subscription", Of: []string{"P-1", "P-4", "P-5"}, Run: createOne},
		Check{Name: "publish between create and attach", Of: []string{"P-2"}, Run: createThenPublish},
		Check{Name: "create without bindings", Of: []string{"P-3"}, Run: createEmpty},
		Check{Name: "create with each linger", Of: []string{"P-6"}, Run: createLinger},
		Check{Name: "create with one binding that is refused", Of: []string{"P-7", "P-8"}, Run: createHalf},
		Check{Name: "create with exchanges that may not be bound", Of: []string{"P-9", "P-10"}, Run: createForbidden},
		Check{Name: "create with values that are too long or too many", Of: []string{"P-11", "P-12", "P-17"}, Run: createTooMuch},
		Check{Name: "create with the same binding twice, and in two subscriptions", Of: []string{"P-13", "P-18"}, Run: createTwice},
		Check{Name: "create with bodies that are wrong", Of: []string{"P-14", "P-15", "P-16"}, Run: createWrong},
	)
}

func createOne(t *T) {
	x := t.Exchange("topic")
	r := t.TryCreate(object{"bindings": on(x, "a.#")})
	t.Is("P-1", r.Status == http.StatusCreated && r.Header.Get("Location") == str(r.Body, "links", "self") && str(r.Body, "id") != "",
		"%s, Location %s, links.self %s", r, r.Header.Get("Location"), str(r.Body, "links", "self"))
	s := r.Body
	created, err := time.Parse(time.RFC3339, str(s, "created_at"))
	t.Must(err)
	expires, _ := time.Parse(time.RFC3339, str(s, "expires_at"))
	ahead := expires.Sub(created)
	t.Is("P-4", str(s, "state") == "active" && s["oldest"] == nil && s["newest"] == nil && num(s, "counters", "received") == 0 &&
		num(s, "counters", "evicted") == 0 && num(s, "counters", "gaps") == 0 && num(s, "attachments", "sse") == 0 &&
		num(s, "attachments", "ws") == 0 && num(s, "linger_seconds") == int64(t.Bound("linger")) &&
		(ahead-t.Seconds("linger")).Abs() <= 2*time.Second && keys(list(s, "bindings")) == x+" a.#",
		"state %s, oldest %v, newest %v, counters %s, expires %v after its creation", str(s, "state"), s["oldest"], s["newest"],
		text(s["counters"]), ahead)
	id, stream := str(s, "id"), str(s, "stream")
	t.Is("P-5", len(id) == 22 && !strings.Contains(stream, id) && !strings.Contains(id, stream), "id of %d digits, stream %s", len(id), stream)
}

func createThenPublish(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a.#"))
	t.Publish(x, "a.1", "m1", "m2")
	got := s.SSE()
	got.Ready()
	bodies := got.Bodies(2)
	t.Is("P-2", bodies == "m1 m2", "attached afterwards: %s", bodies)
}

func createEmpty(t *T) {
	for _, body := range []string{`{}`, `{"bindings":[]}`} {
		r := t.TryCreate(body)
		t.Is("P-3", r.Status == http.StatusCreated && len(list(r.Body, "bindings")) == 0, "%s: %s with %d bindings", body, r, len(list(r.Body, "bindings")))
	}
}

func createLinger(t *T) {
	x := t.Exchange("topic")
	top := int(t.Bound("max-linger"))
	for _, n := range []int{1, top} {
		s := t.Create(on(x, "#"), "linger_seconds", n)
		t.Is("P-6", num(s.First, "linger_seconds") == int64(n), "1 and %d taken, 60 if left out", top)
	}
	for _, v := range []any{0, -1, top + 1, 1.5, "60", true} {
		r := t.TryCreate(object{"bindings": on(x, "#"), "linger_seconds": v})
		t.Is("P-6", r.Refused(400, "invalid_request", "linger_seconds"), "linger_seconds %v: %s", v, r)
	}
}

func createHalf(t *T) {
	x, gone := t.Exchange("topic"), t.Name()
	r := t.TryCreate(object{"bindings": on(x, "#", gone, "#")})
	missing := r.Refused(404, "exchange_not_found", "") || r.Refused(403, "forbidden_binding", "")
	t.Is("P-8", missing, "%s", r)
	routed, err := t.source.Routed(t, x, "a")
	t.Must(err)
	t.Is("P-7", missing && num(r.Body, "binding") == 1 && !routed, "%s; anything still bound: %v", r, routed)
}

func createForbidden(t *T) {
	r := t.TryCreate(object{"bindings": on("", "a")})
	t.Is("P-9", r.Refused(400, "invalid_request", "exchange"), "%s", r)
	for _, name := range []string{"amq.rabbitmq.log", "amq.rabbitmq.event", "warren.x"} {
		r := t.TryCreate(object{"bindings": on(name, "#")})
		t.Is("P-10", r.Refused(403, "forbidden_binding", ""), "%s: %s", name, r)
	}
}

func createTooMuch(t *T) {
	x := t.Exchange("topic")
	long := strings.Repeat("k", 256)
	for field, bindings := range map[string][]binding{"routing_key": on(x, "#", x, long), "exchange": on(x, "#", long, "#")} {
		r := t.TryCreate(object{"bindings": bindings})
		t.Is("P-11", r.Refused(400, "invalid_request", field) && num(r.Body, "binding") == 1, "256 bytes of %s: %s", field, r)
	}
	for name, value := range map[string]any{"an object": object{}, "an array with one": []any{1, object{"a": 1}}} {
		r := t.TryCreate(object{"bindings": []object{{"exchange": x, "routing_key": "#", "arguments": object{"a": value}}}})
		t.Is("P-11", r.Refused(400, "invalid_request", "arguments") && num(r.Body, "binding") == 0, "%s in arguments: %s", name, r)
	}
	s := t.Create(on(x, long[:255]))
	t.Is("P-11", len(list(s.First, "bindings")) == 1, "a key of 255 bytes is taken, one of 256 refused")
	most := int(t.Bound("max-bindings"))
	many := make([]binding, 0, most+1)
	for i := range most + 1 {
		many = append(many, on(x, "k."+text(i))...)
	}
	r := t.TryCreate(object{"bindings": many})
	t.Is("P-12", r.Refused(400, "invalid_request", "bindings"), "%d bindings: %s", len(many), r)
	r = t.TryCreate(`{"bindings":[]` + strings.Repeat(" ", 64<<10) + `}`)
	t.Is("P-17", r.Refused(413, "body_too_large", ""), "64 KiB and some: %s", r)
}

func createTwice(t *T) {
	x := t.Exchange("topic")
	a := t.Create(on(x, "a", x, "b", x, "a"))
	n := len(list(a.First, "bindings"))
	t.Is("P-13", n == 2, "three bindings, two of them equal, made %d", n)
	b := t.Create(on(x, "b", x, "a"))
	ids := func(o object) map[string]string {
		out := map[string]string{}
		for _, b := range list(o, "bindings") {
			out[str(b, "routing_key")] = str(b, "id")
		}
		return out
	}
	one, two := ids(a.First), ids(b.First)
	t.Is("P-18", one["a"] == two["a"] && one["b"] == two["b"] && one["a"] != one["b"] && one["a"] != "", "%v and %v", one, two)
}

func createWrong(t *T) {
	x := t.Exchange("topic")
	for field, body := range map[string]any{
		"binding": object{"binding": on(x, "#")},
		"queue":   object{"bindings": []object{{"exchange": x, "routing_key": "#", "queue": "q"}}},
	} {
		r := t.TryCreate(body)
		t.Is("P-14", r.Refused(400, "invalid_request", field), "%s: %s", field, r)
	}
	for _, body := range []string{`[]`, `"x"`, `null`, `{}{}`, `{"bindings":[]`, `nonsense`, ``} {
		r := t.TryCreate(body)
		t.Is("P-15", r.Refused(400, "invalid_request", ""), "%s: %s", text(body), r)
	}
	for _, kind := range [][]string{nil, {"text/plain"}, {"application/x-www-form-urlencoded"}} {
		r := t.Do(Call{Method: http.MethodPost, Path: "/v1/subscriptions", Body: `{}`, Header: http.Header{"Content-Type": kind}})
		t.Is("P-16", r.Refused(415, "unsupported_media_type", ""), "content type %v: %s", kind, r)
	}
}
