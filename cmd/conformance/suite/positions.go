package suite

import (
	"fmt"
	"net/http"
	"strings"
)

func init() {
	register(
		Check{Name: "start after each position", Of: []string{"P-47", "P-48", "P-49", "P-50", "P-51"}, Run: positionsStart},
		Check{Name: "start an owned subscription without a position", Of: []string{"P-52"}, Run: positionsUnread},
		Check{Name: "start a shared subscription without a position", Of: []string{"P-53"}, Run: positionsLatest},
		Check{Name: "start after positions that are malformed", Of: []string{"P-54", "P-55", "P-56"}, Run: positionsWrong},
		Check{Name: "follow the ids of a stream", Of: []string{"P-57", "P-81"}, Run: positionsIDs},
	)
}

// filled makes a subscription whose log holds m1 to m4, and returns their ids.
func filled(t *T) (s *Subscription, x string, ids []string) {
	x = t.Exchange("topic")
	s = t.Create(on(x, "#"))
	t.Publish(x, "a", "m1", "m2", "m3", "m4")
	all := s.SSE("from", "earliest")
	all.Ready()
	for range 4 {
		ids = append(ids, all.Expect("message").ID())
	}
	s.Leave(all)
	return s, x, ids
}

func positionsStart(t *T) {
	s, x, ids := filled(t)
	type opened struct {
		*Stream
		id, want, how string
	}
	var open []opened
	for _, c := range []struct {
		id     string
		header string
		query  []string
		want   string
	}{
		{"P-47", "", []string{"after", ids[1]}, "m3 m4"},
		{"P-47", "", []string{"after", ids[3]}, ""},
		{"P-48", ids[2], []string{"after", ids[0], "from", "earliest"}, "m4"},
		{"P-48", ids[2], []string{"last", "4"}, "m4"},
		{"P-48", "", []string{"after", ids[0], "from", "latest"}, "m2 m3 m4"},
		{"P-48", "", []string{"after", ids[0], "last", "1"}, "m2 m3 m4"},
		{"P-49", "", []string{"from", "earliest"}, "m1 m2 m3 m4"},
		{"P-50", "", []string{"last", "2"}, "m3 m4"},
		{"P-50", "", []string{"last", "9"}, "m1 m2 m3 m4"},
		{"P-50", "", []string{"last", "0"}, ""},
		{"P-51", "", []string{"from", "latest"}, ""},
	} {
		// All of them attach before anything else is published, so that the newest is m4 for each.
		h := http.Header{}
		if c.header != "" {
			h.Set("Last-Event-ID", c.header)
		}
		for _, stream := range []*Stream{t.SSE(s.Path+"/sse"+query(c.query...), h.Clone()), t.WS(s.Path+"/ws"+query(c.query...), h.Clone())} {
			stream.Ready()
			open = append(open, opened{stream, c.id, c.want, fmt.Sprint(c.header, c.query)})
		}
	}
	t.Publish(x, "a", "end")
	for _, o := range open {
		got := bodiesUntil(o.Stream, "end")
		t.Is(o.id, got == o.want, "%s: %q", o.how, got)
	}
}

// bodiesUntil returns the payloads of messages up to the one before the marker; nothing else may come.
func bodiesUntil(s *Stream, marker string) string {
	var out []string
	for {
		body := s.Expect("message").Body()
		if body == marker {
			return strings.Join(out, " ")
		}
		out = append(out, body)
	}
}

func positionsUnread(t *T) {
	s, x, _ := filled(t) // its reader was handed m1 to m4
	t.Publish(x, "a", "m5", "m6")
	second := s.WS()
	second.Ready()
	got := second.Bodies(2)
	s.Leave(second)
	t.Is("P-52", got == "m5 m6", "a second attachment goes on: %s", got)
	t.Publish(x, "a", "m7")
	third := s.SSE("from", "unread")
	third.Ready()
	got = third.Bodies(1)
	t.Is("P-52", got == "m7", "the first gets all since the creation, the next what is unread: %s", got)
	fresh := t.Create(on(x, "#"))
	t.Publish(x, "a", "n1", "n2")
	first := fresh.SSE()
	first.Ready()
	got = first.Bodies(2)
	t.Is("P-52", got == "n1 n2", "a first attachment: %s", got)
}

func positionsLatest(t *T) {
	x := t.Exchange("topic")
	q := query("exchange", x)
	one := t.SSE("/v1/sse"+q, nil)
	one.Ready()
	t.Publish(x, "a", "m1", "m2")
	one.Bodies(2)
	two, three := t.SSE("/v1/sse"+q, nil), t.WS("/v1/ws"+q, nil)
	two.Ready()
	three.Ready()
	t.Publish(x, "a", "m3")
	a, b := two.Bodies(1), three.Bodies(1)
	t.Is("P-53", a == "m3" && b == "m3", "with m1 and m2 in the log: SSE %s, WebSocket %s", a, b)
}

func positionsWrong(t *T) {
	s, x, ids := filled(t)
	stream, _, _ := strings.Cut(ids[0], ".")
	for _, bad := range []string{"", "x", stream + ".", stream + ".x", stream + ".-1", stream + ".01", "." + "1", "ä.1", strings.Repeat("a", 128) + ".1"} {
		r := t.Get(s.Path+"/sse"+query("after", bad), "Accept", "text/event-stream")
		t.Is("P-54", r.Refused(400, "invalid_position", "after"), "after=%s: %s", bad, r)
	}
	ws := t.WS(s.Path+"/ws"+query("after", "x"), nil)
	f := ws.Next()
	code, reason := ws.Closed()
	t.Is("P-54", num(f.object, "code") == 4400 && str(f.object, "reason") == "invalid_position" && code == 4400 && reason == "invalid_position",
		"400 invalid_position; WebSocket %s, closed with %d %s", f, code, reason)
	for _, bad := range []string{"x", stream + ".x", "42", strings.Repeat("z", 300)} {
		sse := t.SSE(s.Path+"/sse", header("Last-Event-ID", bad))
		ready, gap := sse.Ready(), sse.Next()
		t.Is("P-55", ready.ID() == "" && gap.IsGap("unknown_position"), "Last-Event-ID %.10s: %s, %s", bad, ready, gap)
		sse.Cut()
	}
	for _, c := range []struct{ path, query, field string }{
		{s.Path + "/sse", query("from", "earliest", "last", "1"), "last"},
		{"/v1/sse", query("exchange", x, "from", "unread"), "from"},
		{"/v1/sse", query("exchange", x, "from", "latest", "last", "0"), "last"},
	} {
		r := t.Get(c.path + c.query)
		t.Is("P-56", r.Refused(400, "invalid_request", c.field), "%s: %s", c.query, r)
	}
}

func positionsIDs(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	ws := s.WS()
	ready := ws.Ready()
	t.Publish(x, "a", "m1", "m2")
	offsets := make([]string, 0, 4)
	for range 2 {
		offsets = append(offsets, "message "+strings.TrimPrefix(ws.Expect("message").ID(), str(ready.object, "stream")))
	}
	s.Bind(on(x, "b")...)
	ws.Ask(object{"type": "pause"})
	ws.Ask(object{"type": "resume"})
	ws.Ask(object{"type": "ping"})
	t.Publish(x, "a", "m3")
	for range 2 {
		f := ws.Next()
		for f.ID() == "" {
			f = ws.Next()
		}
		offsets = append(offsets, f.Type()+" "+strings.TrimPrefix(f.ID(), str(ready.object, "stream")))
	}
	got := strings.Join(offsets, ", ")
	t.Is("P-57", got == "message .1, message .2, bindings .3, message .4", "%s", got)
	t.Is("P-81", got == "message .1, message .2, bindings .3, message .4", "after ready %s: %s; ok, paused, resumed and pong took none", short(ready.ID()), got)
}
