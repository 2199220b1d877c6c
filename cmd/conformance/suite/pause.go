package suite

import (
	"net/http"
)

func init() {
	register(
		Check{Name: "pause one attachment", Of: []string{"P-120", "P-121", "P-122", "P-125", "P-132"}, Run: pauseAttachment},
		Check{Name: "pause a subscription", Of: []string{"P-120", "P-123", "P-124"}, Run: pauseSubscription},
		Check{Name: "pause both, and come back with a position that is gone", Of: []string{"P-126", "P-102"}, Run: pauseBoth},
	)
}

// scope tells whether a frame is of the type and scope.
func scope(f *Frame, kind, scope string) bool {
	return f.Type() == kind && str(f.object, "scope") == scope
}

func pauseAttachment(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	ws, sse := s.WS(), s.SSE()
	ws.Ready()
	sse.Ready()
	for range 2 { // repeating it is no error and sends nothing more
		ok := ws.Ask(object{"type": "pause"})
		t.Is("P-120", ok.Type() == "ok", "pause: %s", ok.Type())
	}
	paused := ws.Next()
	t.Publish(x, "a", "m1", "m2")
	pong := ws.Ask(object{"type": "ping", "ref": "p"})
	got := sse.Bodies(2)
	t.Is("P-125", got == "m1 m2", "another attachment got %s and nothing else", got)
	held := len(ws.Rest())
	t.Is("P-121", scope(paused, "paused", "attachment") && held == 0, "while two messages came: %d frames after paused, but for an answer", held)
	t.Is("P-132", pong.Type() == "pong" && str(pong.object, "ref") == "p", "while paused: %s with its ref", pong.Type())
	for range 2 {
		ws.Ask(object{"type": "resume"})
	}
	resumed := ws.Next()
	got = ws.Bodies(2)
	t.Is("P-120", scope(resumed, "resumed", "attachment"), "%s, %s, each once though asked for twice", paused, resumed)
	t.Is("P-122", got == "m1 m2", "after resumed: %s", got)
	pong = ws.Ask(object{"type": "ping"})
	t.Is("P-132", pong.Type() == "pong" && pong.object["ref"] == nil, "pong while paused and after")
}

func pauseSubscription(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	ws, sse := s.WS(), s.SSE()
	ws.Ready()
	sse.Ready()
	s.Post("/pause")
	again := t.Post(s.Path+"/pause", nil)
	now := s.Get()
	t.Is("P-123", str(now, "state") == "paused" && str(again.Body, "state") == "paused", "state %s", str(now, "state"))
	one, two := ws.Next(), sse.Next()
	late := s.SSE("from", "earliest")
	ready, paused := late.Ready(), late.Next()
	t.Is("P-124", ready.Type() == "ready" && scope(paused, "paused", "subscription"), "%s, %s", ready, paused)
	t.Publish(x, "a", "m1")
	s.Post("/resume")
	again = t.Post(s.Path+"/resume", nil)
	three, four, five := ws.Next(), sse.Next(), late.Next()
	a, b, c := ws.Bodies(1), sse.Bodies(1), late.Bodies(1)
	ok := scope(one, "paused", "subscription") && scope(two, "paused", "subscription") && scope(three, "resumed", "subscription") &&
		scope(four, "resumed", "subscription") && scope(five, "resumed", "subscription")
	t.Is("P-120", ok && again.Status == http.StatusOK && a+b+c == "m1m1m1", "all three attachments: %s, then %s, each once though asked for twice, then m1", one, three)
	t.Is("P-123", str(s.Get(), "state") == "active", "state paused, and after resume %s", str(s.Get(), "state"))
}

func pauseBoth(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	ws := s.WS()
	ws.Ready()
	s.Post("/pause")
	first := ws.Next()
	ws.Ask(object{"type": "pause"})
	second := ws.Next()
	t.Publish(x, "a", "m1")
	s.Post("/resume")
	third := ws.Next()
	ws.Ask(object{"type": "ping"})
	held := len(ws.Rest())
	ws.Ask(object{"type": "resume"})
	fourth := ws.Next()
	got := ws.Bodies(1)
	t.Is("P-126", held == 0 && scope(first, "paused", "subscription") && scope(second, "paused", "attachment") &&
		scope(third, "resumed", "subscription") && scope(fourth, "resumed", "attachment") && got == "m1",
		"%s %s; after the first was lifted %d messages, after the second %s", first, second, held, got)
	s.Post("/pause")
	back := t.SSE(s.Path+"/sse", after("malformed"))
	back.Ready()
	paused := back.Next()
	ws.Skip("paused")
	ws.Ask(object{"type": "ping"})
	early := len(back.Rest())
	s.Post("/resume")
	resumed, gap := back.Next(), back.Next()
	t.Is("P-102", scope(paused, "paused", "subscription") && early == 0 && resumed.Type() == "resumed" && gap.IsGap("unknown_position"),
		"on a paused subscription: %s, once it goes on %s, %s", paused, resumed, gap)
}
