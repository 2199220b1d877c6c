package suite

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

func init() {
	register(
		Check{Name: "refuse an EventSource for good", Of: []string{"P-141"}, Run: eventSourceFinal},
		Check{Name: "end an EventSource", Of: []string{"P-143", "P-145"}, Run: eventSourceEnd},
		Check{Name: "cut an EventSource again and again", Of: []string{"P-144"}, Run: eventSourceCuts},
	)
}

func eventSourceFinal(t *T) {
	x := t.Exchange("topic")
	for _, c := range []struct {
		path   string
		status int
		code   string
	}{
		{"/v1/subscriptions/none/sse", 404, "subscription_not_found"},
		{"/v1/sse" + query("exchange", t.Name()), 404, "exchange_not_found"},
		{"/v1/sse" + query("exchange", "warren.x"), 403, "forbidden_binding"},
		{"/v1/sse" + query("exchange", x, "nonsense", "1"), 400, "invalid_request"},
		{"/v1/sse" + query("exchange", x, "after", "x"), 400, "invalid_position"},
	} {
		r := t.Get(c.path, "Accept", "text/event-stream")
		ok := r.Refused(c.status, c.code, "") || c.code == "exchange_not_found" && r.Refused(403, "forbidden_binding", "")
		t.Is("P-141", ok, "%s: %s", c.path, r)
	}
}

func eventSourceEnd(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	byID := s.SSE()
	byID.Ready()
	q := query("exchange", x, "share", "false")
	own := t.SSE("/v1/sse"+q, nil)
	ready := own.Ready()
	for _, path := range []string{s.Path, "/v1/subscriptions/" + str(ready.object, "subscription")} {
		if r := t.Do(Call{Method: http.MethodDelete, Path: path}); r.Status != http.StatusNoContent {
			t.Fatalf("DELETE: %s", r)
		}
	}
	bye := byID.Expect("bye")
	own.Expect("bye")
	retry, _ := bye.Event.Line("retry")
	t.Is("P-143", retry == text(bye.object["retry_ms"]) && errors.Is(byID.End(), io.EOF), "retry: %s, retry_ms %s", retry, text(bye.object["retry_ms"]))
	r := t.Get(s.Path+"/sse", "Accept", "text/event-stream", "Last-Event-ID", byID.Last())
	back := t.SSE("/v1/sse"+q, after(ready.ID()))
	again, gap := back.Ready(), back.Next()
	t.Is("P-145", r.Refused(404, "subscription_not_found", "") && gap.IsGap("subscription_lost") && str(again.object, "stream") != str(ready.object, "stream"),
		"by id: %s; by query: %s, %s", r, again, gap)
}

// eventSourceCuts does as a browser does, which knows the last id: line and nothing else.
func eventSourceCuts(t *T) {
	x := t.Exchange("topic")
	q := query("exchange", x)
	id := ""
	var got []string
	published := 0
	publish := func(n int) {
		for range n {
			t.Publish(x, "a", fmt.Sprint("m", published))
			published++
		}
	}
	gaps := 0
	for round := range 6 {
		var h http.Header
		if id != "" {
			h = after(id)
		}
		s := t.SSE("/v1/sse"+q, h)
		if round == 0 {
			id = s.Ready().ID()
		}
		publish(2)
		// Cut after so many frames: at once, after ready, and after some messages.
		for range round {
			f := s.Next()
			if f.Type() == "message" {
				got = append(got, f.Body())
			} else if f.Type() == "gap" {
				gaps++
			}
			if f.ID() != "" {
				id = f.ID()
			}
		}
		s.Cut()
		publish(1)
	}
	last := t.SSE("/v1/sse"+q, after(id))
	last.Ready()
	for len(got) < published {
		got = append(got, last.Expect("message").Body())
	}
	whole := gaps == 0
	for i, body := range got {
		whole = whole && body == fmt.Sprint("m", i)
	}
	t.Is("P-144", whole, "cut 6 times: %d published, got %s", published, strings.Join(got, " "))
}
