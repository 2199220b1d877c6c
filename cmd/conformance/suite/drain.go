package suite

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

func init() {
	register(
		Check{Name: "stop a gateway", Of: []string{"P-172", "P-173", "P-174", "P-175", "P-176", "P-142"}, Needs: Gateway, Run: drainAll},
	)
}

// drainWindow is short enough to wait for, and long enough to ask for something meanwhile.
const drainWindow = 8

func drainAll(t *T) {
	g, p := t.GatewayOn("memory://", map[string]float64{"drain": drainWindow})
	g.source = restSource{}
	x := g.Exchange("topic")
	s := g.Create(on(x, "#"), "payload", "raw")
	streams := make([]*Stream, 0, 10)
	for range cap(streams) / 2 {
		streams = append(streams, s.SSE(), s.WS())
	}
	for _, stream := range streams {
		stream.Ready()
	}
	// Streams whose clients read end at once; one whose client takes nothing keeps the gateway for its window.
	y := g.Exchange("topic")
	full := g.Create(on(y, "#"))
	stuck := g.stuck(full.Path + "/sse")
	much := slices.Repeat([]string{strings.Repeat("x", 56<<10)}, g.untaken()/(56<<10)+20)
	g.Publish(y, "a", much...)
	g.Publish(x, "a", "m1", "m2", strings.Repeat("x", 40<<10))
	// What the broker took may not have reached the logs yet, and only what is there is promised, and holds up the end.
	g.Eventually(g.patience, "the logs have what was published", func() bool {
		return num(s.Get(), "counters", "received") == 3 && num(full.Get(), "counters", "received") == int64(len(much))
	})
	began := time.Now()
	t.Must(p.stop())
	ready := g.readiness()
	t.Must(stuck.conn.SetReadDeadline(time.Now().Add(t.patience)))
	frame, err := stuck.next()
	g.Is("P-172", ready.Status == http.StatusServiceUnavailable && str(ready.Body, "status") == "unavailable" && err == nil && str(frame, "type") == "message",
		"/readyz: %s %s while a stream was open", ready, ready.Raw)
	g.drainRefusals(s)
	retries, low, high := map[int64]bool{}, int64(1<<40), int64(0)
	for _, stream := range streams {
		got := stream.Bodies(2)
		last, bye := stream.Next(), stream.Next()
		g.Is("P-173", got == "m1 m2" && last.Type() == "message" && bye.Type() == "bye" && num(bye.object, "code") == 1001 && str(bye.object, "reason") == "shutting_down" &&
			bye.object["reconnect"] == true, "%d streams: %s, %s, then %s", len(streams), got, last.Type(), bye)
		ms := num(bye.object, "retry_ms")
		retries[ms] = true
		low, high = min(low, ms), max(high, ms)
	}
	g.Is("P-174", low >= 500 && high <= 5000 && len(retries) > len(streams)/2, "retry_ms of %d streams: %d values from %d to %d", len(streams), len(retries), low, high)
	select {
	case <-p.ended:
	case <-t.ctx.Done():
		t.Fatalf("the gateway did not end")
	}
	took := p.exited.Sub(began)
	// Some grace for what comes after the streams: queues and connections are closed.
	g.Is("P-176", took < drainWindow*time.Second+5*time.Second, "with --drain %ds and a client that takes nothing it had ended after %.1f s", drainWindow, took.Seconds())
	_ = stuck.conn.Close()
}

// readiness asks /readyz until it says no.
func (t *T) readiness() *Reply {
	var r *Reply
	t.Eventually(t.patience, "/readyz answers 503", func() bool {
		r = t.Get("/readyz")
		return r.Status == http.StatusServiceUnavailable
	})
	return r
}

// drainRefusals asks for new streams.
func (t *T) drainRefusals(s *Subscription) {
	plain := t.Get(s.Path + "/sse")
	create := t.Post("/v1/subscriptions", `{}`)
	sse := s.SSE()
	one := sse.Next()
	ws := t.WS(s.Path+"/ws", nil)
	two := ws.Next()
	code, reason := ws.Closed()
	going := func(f *Frame) bool {
		return f.Type() == "bye" && num(f.object, "code") == 1001 && f.object["reconnect"] == true
	}
	t.Is("P-175", plain.Refused(503, "shutting_down", "") && create.Refused(503, "shutting_down", "") && sse.Status == 200 && going(one) && going(two) && code == 1001,
		"EventSource: %d, %s; WebSocket: %s, closed with %d %s; plain: %s; create: %s", sse.Status, one, two, code, reason, plain, create)
	t.Is("P-142", plain.Refused(503, "shutting_down", ""), "an SSE endpoint without Accept while the gateway stops: %s", plain)
}
