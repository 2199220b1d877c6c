package suite

import (
	"fmt"
	"strconv"
	"strings"
)

func init() {
	register(
		Check{Name: "fill a gateway with small caps", Of: []string{"P-181", "P-182", "P-138", "P-140"}, Needs: Gateway, Run: boundsCaps},
		Check{Name: "publish messages around the largest, with a small bound", Of: []string{"P-95", "P-103", "P-105"}, Needs: Gateway | Memory, Run: boundsLargest},
		Check{Name: "evict a binding marker from a short log", Of: []string{"P-99", "P-107", "P-98"}, Needs: Gateway, Run: boundsMarkers},
		Check{Name: "overflow a short queue", Of: []string{"P-104"}, Needs: Gateway | AMQP, Run: boundsOverflow},
	)
}

func boundsCaps(t *T) {
	g := t.Gateway(map[string]float64{"max-subscriptions": 2, "max-streams-per-caller": 3, "max-attachments": 2})
	s, other := g.Create(on()), g.Create(on())
	one, two := s.SSE(), s.WS()
	one.Ready()
	two.Ready()
	full := g.TryCreate(`{}`)
	after, _ := strconv.Atoi(full.Header.Get("Retry-After"))
	ws := g.WS("/v1/ws", nil)
	g.Is("P-181", full.Refused(503, "over_capacity", "") && str(full.Body, "limit") == "max-subscriptions", "a third of 2 subscriptions: %s", full)
	g.Is("P-138", after >= 1 && int64(after) == num(full.Body, "retry_after_seconds"), "503 with Retry-After: %d", after)
	bye := ws.Next()
	code, _ := ws.Closed()
	g.Is("P-181", num(bye.object, "code") == 4503 && str(bye.object, "reason") == "over_capacity" && code == 4503, "a third of 2 subscriptions: %s; WebSocket %s", full, bye)
	third := s.SSE()
	bye = third.Next()
	g.Is("P-140", third.Status == 200 && num(bye.object, "code") == 4429 && str(bye.object, "reason") == "limit_reached", "a third of 2 attachments: 200, %s", bye)
	three := other.SSE()
	three.Ready()
	four := other.SSE()
	bye = four.Next()
	g.Is("P-182", num(bye.object, "code") == 4429, "a fourth of 3 streams: %s", bye)
	two.Cut()
	var again *Stream
	back := g.Eventually(g.patience, "a stream is given back", func() bool {
		again = other.SSE()
		return again.Next().Type() == "ready"
	})
	g.Is("P-182", back, "a fourth of 3 streams: %s; after one ended: ready", bye)
	alive := s.Get()
	g.Is("P-181", num(alive, "attachments", "sse") == 1, "a third of 2 subscriptions: %s; running streams go on", full)
}

func boundsLargest(t *T) {
	g := t.Gateway(map[string]float64{"max-message-bytes": 20000})
	payloadsLargest(g)
}

func boundsMarkers(t *T) {
	const frames = 8
	g := t.Gateway(map[string]float64{"log-frames": frames})
	x := g.Exchange("topic")
	s := g.Create(on(x, "#"), "payload", "raw")
	all := s.SSE()
	stream := str(all.Ready().object, "stream")
	g.Publish(x, "a", "m1", "m2")
	all.Bodies(2)
	s.Bind(on(x, "b")...) // .3
	for i := 4; i <= 3+frames; i++ {
		g.Publish(x, "a", fmt.Sprint("m", i))
	}
	all.Expect("bindings")
	all.Bodies(frames)
	now := s.Get()
	id := func(offset int) string { return fmt.Sprintf("%s.%d", stream, offset) }
	if str(now, "oldest") != id(4) {
		t.Fatalf("a log of %d frames: oldest is %q, %d events came", frames, str(now, "oldest"), 3+frames)
	}
	only := g.SSE(s.Path+"/sse", after(id(2)))
	only.Ready()
	one, two := only.Next(), only.Next()
	g.Is("P-99", one.Type() == "bindings" && two.ID() == id(4), "after .2, with the marker .3 evicted: %s, %s", one, two)
	g.Is("P-107", one.Type() == "bindings" && one.ID() == id(3) && keys(list(one.object, "bindings")) == x+" #, "+x+" b", "with a gap, and without one: bindings %s before %s",
		short(one.ID()), short(two.ID()))
	more := g.WS(s.Path+"/ws", after(id(0)))
	more.Ready()
	gap, one, two := more.Next(), more.Next(), more.Next()
	g.Is("P-98", gap.IsGap("evicted") && num(gap.object, "missed") == 2 && gap.ID() == id(3) && one.ID() == id(3) && two.ID() == id(4),
		"two messages and a marker are evicted: %s, %s, %s", gap, one, two)
}

func boundsOverflow(t *T) {
	g := t.Gateway(map[string]float64{"queue-max-length": 10, "prefetch": 1})
	x := g.Exchange("topic")
	s := g.Create(on(x, "#"), "payload", "raw")
	sse := s.SSE()
	sse.Ready()
	const n = 3000
	bodies := strings.Fields(strings.Repeat("m ", n))
	g.Publish(x, "a", bodies...)
	got, missed, since := 0, int64(0), ""
	var gap *Frame
	for got+int(missed) < n {
		f := sse.Next()
		if f.IsGap("queue_overflow") {
			gap, since = f, str(f.object, "since")
			missed += num(f.object, "missed")
			continue
		}
		if f.Type() == "message" {
			got++
		}
	}
	g.Is("P-104", gap != nil && since != "" && got+int(missed) == n, "%d published to a queue of 10: %d came, gaps say %d, the last %s since %s", n, got, missed, gap, short(since))
}
