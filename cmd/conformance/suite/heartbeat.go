package suite

import (
	"regexp"
	"time"
)

func init() {
	register(
		Check{Name: "be silent for the heartbeat interval", Of: []string{"P-155", "P-156"}, Needs: Patient, Run: heartbeatSilent},
	)
}

// utc is RFC 3339 in UTC.
var utc = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)

func heartbeatSilent(t *T) {
	x := t.Exchange("topic")
	s, paused := t.Create(on(x, "#")), t.Create(on())
	sse, ws, still := s.SSE(), s.WS(), paused.WS()
	sse.Ready()
	ws.Ready()
	still.Ready()
	still.Ask(object{"type": "pause"})
	still.Expect("paused")
	t.Publish(x, "a", "m1")
	id := sse.Expect("message").ID()
	ws.Expect("message")
	began := time.Now()
	interval := t.Seconds("heartbeat")
	for _, c := range []struct {
		stream *Stream
		newest any
	}{{sse, id}, {ws, id}, {still, nil}} {
		f, err := c.stream.take(interval*3/2 + 5*time.Second)
		t.Must(err)
		took := f.At.Sub(began)
		t.Is("P-155", f.Type() == "ping" && took > interval*8/10 && took < interval*12/10+3*time.Second, "SSE, WebSocket and a paused one: %s after %.1f s", f.Type(), took.Seconds())
		at, err := time.Parse(time.RFC3339, str(f.object, "time"))
		t.Is("P-156", err == nil && utc.MatchString(str(f.object, "time")) && time.Since(at).Abs() < time.Minute && f.ID() == "" && f.object["newest"] == c.newest,
			"%s", oneLine(string(f.Raw)))
	}
}
