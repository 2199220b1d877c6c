package suite

import (
	"net/http"
	"strings"
)

func init() {
	register(
		Check{Name: "come back after a cut", Of: []string{"P-58", "P-59", "P-60"}, Run: resumeCut},
		Check{Name: "come back to a shared stream", Of: []string{"P-61", "P-75"}, Run: resumeShared},
		Check{Name: "come back to one's own stream", Of: []string{"P-62"}, Run: resumeOwn},
		Check{Name: "come back by query with a position that is gone", Of: []string{"P-63", "P-108"}, Run: resumeLost},
		Check{Name: "come back with a position that never was", Of: []string{"P-64", "P-100", "P-101", "P-102", "P-69"}, Run: resumeUnknown},
		Check{Name: "use the ids of one transport on the other", Of: []string{"P-66", "P-67", "P-68"}, Run: resumeAcross},
	)
}

// after is the header of a client that comes back.
func after(id string) http.Header { return header("Last-Event-ID", id) }

func resumeCut(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	first := s.SSE()
	ready := first.Ready()
	t.Is("P-59", ready.object["resumed"] == false, "%s", ready)
	first.Cut()
	t.Publish(x, "a", "m1", "m2")
	second := t.SSE(s.Path+"/sse", after(ready.ID()))
	again := second.Ready()
	got := second.Bodies(2)
	t.Is("P-60", again.ID() == ready.ID() && got == "m1 m2", "cut right after %s, then %s and %s", ready, again, got)
	second.Cut()
	t.Publish(x, "a", "m3", "m4")
	third := t.SSE(s.Path+"/sse", after(second.Last()))
	back := third.Ready()
	got = third.Bodies(2)
	t.Is("P-58", got == "m3 m4", "cut after m2, published two, then: %s", got)
	t.Is("P-59", back.ID() == second.Last() && back.object["resumed"] == true, "%s for position %s", back, short(second.Last()))
	earliest := s.WS("from", "earliest").Ready()
	t.Is("P-59", earliest.object["resumed"] == false, "%s for position %s; from=earliest: %s", back, short(second.Last()), earliest)
}

func resumeShared(t *T) {
	x := t.Exchange("topic")
	q := query("exchange", x, "routing_key", "a.#")
	one := t.SSE("/v1/sse"+q, nil)
	stream := str(one.Ready().object, "stream")
	t.Publish(x, "a.1", "m1", "m2")
	id := one.Expect("message").ID()
	one.Cut()
	t.Publish(x, "a.1", "m3")
	two := t.SSE("/v1/sse"+q, after(id))
	ready := two.Ready()
	got := two.Bodies(2)
	t.Is("P-61", got == "m2 m3" && ready.ID() == id && ready.object["resumed"] == true, "%s, then %s", ready, got)
	t.Is("P-75", str(ready.object, "stream") == stream && got == "m2 m3", "with nobody attached meanwhile the stream is the same, nothing lost: %s", got)
	ws := t.WS("/v1/ws"+q+"&after="+id, nil)
	ws.Ready()
	got = ws.Bodies(2)
	t.Is("P-61", got == "m2 m3", "%s, then %s on both transports", ready, got)
}

func resumeOwn(t *T) {
	x := t.Exchange("topic")
	q := query("exchange", x, "routing_key", "a", "share", "false")
	one := t.SSE("/v1/sse"+q, nil)
	ready := one.Ready()
	one.Cut()
	t.Publish(x, "a", "m1")
	two := t.SSE("/v1/sse"+q, after(ready.ID()))
	back := two.Ready()
	got := two.Bodies(1)
	same := str(back.object, "subscription") == str(ready.object, "subscription") && str(ready.object, "subscription") != ""
	t.Is("P-62", same && got == "m1" && back.object["resumed"] == true, "the same subscription: %v; %s, then %s", same, back, got)
	// With the bindings that it has by now, too.
	r := t.Post("/v1/subscriptions/"+str(back.object, "subscription")+"/bindings", object{"bindings": on(x, "b")})
	id := two.Expect("bindings").ID()
	two.Cut()
	three := t.WS("/v1/ws"+query("exchange", x, "routing_key", "b", "exchange", x, "routing_key", "a", "share", "false", "after", id), nil)
	now := three.Ready()
	t.Is("P-62", r.Status == 200 && str(now.object, "subscription") == str(ready.object, "subscription") && now.object["resumed"] == true,
		"the same subscription: %v; %s, then %s; with the bindings it got later: %s", same, back, got, now)
}

func resumeLost(t *T) {
	x, other := t.Exchange("topic"), t.Create(on())
	foreign := str(other.First, "stream") + ".0"
	gone := strings.Repeat("0", 17) + ".5"
	for _, share := range []string{"true", "false"} {
		q := query("exchange", x, "share", share)
		for _, position := range []string{gone, foreign, "malformed"} {
			for _, path := range []string{"/v1/sse", "/v1/ws"} {
				var s *Stream
				if path == "/v1/ws" {
					s = t.WS(path+q, after(position))
				} else {
					s = t.SSE(path+q, after(position))
				}
				ready, gap := s.Ready(), s.Next()
				given := ready.ID() == position || position == "malformed" && ready.ID() == ""
				t.Is("P-63", gap.IsGap("subscription_lost") && ready.object["resumed"] == false && given, "%s %s: %s, %s", path, position, ready, gap)
				missed, there := gap.object["missed"]
				t.Is("P-108", there && missed == nil, "%s", gap)
				s.Cut()
			}
		}
	}
}

func resumeUnknown(t *T) {
	s, x, ids := filled(t)
	stream, _, _ := strings.Cut(ids[0], ".")
	foreign := str(t.Create(on()).First, "stream") + ".0"
	var gap *Frame
	for _, position := range []string{stream + ".99", foreign, "malformed"} {
		sse := t.SSE(s.Path+"/sse", after(position))
		ready := sse.Ready()
		gap = sse.Next()
		got := sse.Bodies(4)
		t.Is("P-64", gap.IsGap("unknown_position") && got == "m1 m2 m3 m4", "%s: %s, then %s", position, gap, got)
		want := position
		if position == "malformed" {
			want = ""
		}
		t.Is("P-101", ready.ID() == want && ready.object["resumed"] == false, "given %s: %s", position, ready)
		t.Is("P-102", gap.Type() == "gap", "first after ready: %s", gap)
		t.Is("P-100", gap.ID() == stream+".0", "the gap before .1 is %s", short(gap.ID()))
		sse.Cut()
	}
	again := t.SSE(s.Path+"/sse", after(gap.ID()))
	again.Ready()
	got := again.Bodies(4)
	t.Is("P-100", got == "m1 m2 m3 m4", "the gap before .1 is %s; back after it: %s", short(gap.ID()), got)
	ws := t.WS(s.Path+"/ws", after(gap.ID()))
	ws.Ready()
	got = ws.Bodies(4)
	t.Is("P-69", got == "m1 m2 m3 m4", "a gap's id from SSE on a WebSocket: %s", got)
	// A future position of a shared stream is one of it, and not lost.
	q := query("exchange", x)
	shared := str(t.SSE("/v1/sse"+q, nil).Ready().object, "stream")
	f := t.SSE("/v1/sse"+q, after(shared+".7"))
	ready := f.Ready()
	gap = f.Next()
	t.Is("P-64", gap.IsGap("unknown_position") && ready.ID() == shared+".7", "by id, and on a shared stream in the future: %s, %s", ready, gap)
}

func resumeAcross(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a"))
	sse, ws := s.SSE(), s.WS()
	sse.Ready()
	ws.Ready()
	t.PublishMessage(x, "a", Message{Body: []byte(`{"n": 1, "t": "ü\n"}`), Properties: object{"content_type": "application/json", "headers": object{"h": []any{1, "x"}}}})
	s.Bind(on(x, "b")...)
	t.Publish(x, "a", "m2")
	same, frames := true, 0
	for range 3 {
		a, b := sse.Next(), ws.Next()
		same = same && string(a.Raw) == string(b.Raw)
		frames++
	}
	t.Is("P-66", same, "%d frames, the same bytes on both: %v", frames, same)
	fromSSE, fromWS := sse.Last(), ws.Last()
	t.Publish(x, "a", "m3", "m4")
	for _, w := range []*Stream{t.WS(s.Path+"/ws"+query("after", fromSSE), nil), t.WS(s.Path+"/ws", after(fromSSE))} {
		w.Ready()
		got := w.Bodies(2)
		t.Is("P-67", got == "m3 m4", "after an id of SSE: %s", got)
	}
	for _, e := range []*Stream{t.SSE(s.Path+"/sse"+query("after", fromWS), nil), t.SSE(s.Path+"/sse", after(fromWS))} {
		e.Ready()
		got := e.Bodies(2)
		t.Is("P-68", got == "m3 m4", "after an id of a WebSocket: %s", got)
	}
	// By the same query.
	q := query("exchange", x, "routing_key", "a")
	one := t.SSE("/v1/sse"+q, nil)
	one.Ready()
	t.Publish(x, "a", "q1")
	id := one.Expect("message").ID()
	one.Cut()
	t.Publish(x, "a", "q2")
	two := t.WS("/v1/ws"+q, after(id))
	ready := two.Ready()
	got := two.Bodies(1)
	t.Is("P-67", got == "q2" && ready.object["resumed"] == true, "by id m3 m4; by the same query %s, then %s", ready, got)
	three := t.SSE("/v1/sse"+q, after(two.Last()))
	three.Ready()
	t.Publish(x, "a", "q3")
	got = three.Bodies(1)
	t.Is("P-68", got == "q3", "by id m3 m4; by the same query %s", got)
}
