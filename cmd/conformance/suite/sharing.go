package suite

func init() {
	register(
		Check{Name: "share streams", Of: []string{"P-70", "P-71", "P-72", "P-73"}, Run: sharingStreams},
		Check{Name: "change a shared subscription", Of: []string{"P-74", "P-131"}, Run: sharingChange},
	)
}

func sharingStreams(t *T) {
	x := t.Exchange("topic")
	stream := func(q string) string { return str(t.SSE("/v1/sse"+q, nil).Ready().object, "stream") }
	q := query("exchange", x, "routing_key", "a", "exchange", x, "routing_key", "b")
	first := stream(q)
	same := stream(q)
	ws := str(t.WS("/v1/ws"+q, nil).Ready().object, "stream")
	t.Is("P-70", first == same && first == ws, "SSE %s and %s, WebSocket %s", first[:4], same[:4], ws[:4])
	for _, other := range []string{
		query("exchange", x, "routing_key", "b", "exchange", x, "routing_key", "a"),
		query("exchange", x, "routing_key", "b", "exchange", x, "routing_key", "a", "exchange", x, "routing_key", "b"),
		query("bindings", text(on(x, "b", x, "a"))),
		query("exchange", x, "routing_key", "a", "exchange", x, "routing_key", "b", "payload", "auto", "share", "true"),
	} {
		t.Is("P-71", stream(other) == first, "the same stream in another order, twice, as bindings=, with defaults spelled out")
	}
	seen := map[string]bool{first: true}
	for _, other := range []string{
		query("exchange", x, "routing_key", "a"), query("exchange", x),
		query("exchange", x, "routing_key", "a", "exchange", x, "routing_key", "b", "payload", "raw"),
		query("bindings", text([]binding{{x, "a", object{"k": 1}}, {x, "b", nil}})),
	} {
		id := stream(other)
		t.Is("P-72", !seen[id], "other keys, fewer bindings, arguments and another payload each have a stream of their own")
		seen[id] = true
	}
	for range 2 {
		id := stream(q + "&share=false")
		t.Is("P-73", !seen[id], "two with share=false and one shared: three streams")
		seen[id] = true
	}
}

func sharingChange(t *T) {
	x := t.Exchange("topic")
	ws := t.WS("/v1/ws"+query("exchange", x, "routing_key", "a"), nil)
	ready := ws.Ready()
	_, has := ready.object["subscription"]
	for _, kind := range []string{"bind", "unbind"} {
		f := ws.Ask(object{"type": kind, "ref": "1", "bindings": on(x, "a")})
		code := str(f.object, "problem", "code")
		t.Is("P-131", f.Type() == "error" && code == "shared_subscription", "%s: %s %s", kind, f.Type(), code)
		t.Is("P-74", !has && code == "shared_subscription", "ready has subscription: %v; %s: %s", has, kind, code)
	}
	r := t.Get("/v1/subscriptions/" + str(ready.object, "stream"))
	t.Is("P-74", r.Refused(404, "subscription_not_found", ""), "ready has subscription: %v; bind and unbind: shared_subscription; the stream id by REST: %s", has, r)
	t.Publish(x, "a", "m1")
	got := ws.Bodies(1)
	t.Is("P-131", got == "m1", "refused, and the stream goes on: %s", got)
}
