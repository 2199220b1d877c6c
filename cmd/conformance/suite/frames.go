package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

func init() {
	register(
		Check{Name: "look at the lines of every type of frame", Of: []string{"P-76", "P-77", "P-78", "P-79", "P-80", "P-84"}, Run: framesLines},
		Check{Name: "publish with every property", Of: []string{"P-82"}, Run: framesProperties},
		Check{Name: "publish many in order", Of: []string{"P-83"}, Run: framesOrder},
	)
}

// framesLines brings about every type of frame; that each has exactly the members of asyncapi.yaml is looked at wherever a
// frame comes.
func framesLines(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	sse, ws := t.SSE(s.Path+"/sse", after("malformed")), s.WS()
	t.Publish(x, "k\r\ndata: x\n\nid: evil", "line 1\r\nline 2\n\ndata: {}\n\nevent: bye\rid: 9")
	s.Bind(on(x, "b")...)
	s.Post("/pause")
	s.Post("/resume")
	ws.Ask(object{"type": "ping"})
	t.Do(Call{Method: http.MethodDelete, Path: s.Path})
	var kinds []string
	seen := map[string]bool{}
	for !seen["bye"] {
		f := sse.Next()
		kinds = append(kinds, f.Type())
		seen[f.Type()] = true
		name, named := f.Event.Line("event")
		t.Is("P-77", named == (f.Type() != "message") && (!named || name == f.Type()), "%s", strings.Join(kinds, ", "))
		id, has := f.Event.Line("id")
		_, wants := f.object["id"]
		t.Is("P-78", has == wants && id == f.ID(), "%s has the line id: %s", f, short(id))
		t.Is("P-79", f.Event.Data == 1, "a body, and a key, full of line breaks: each frame on one data line")
		if f.Type() == "message" {
			t.Is("P-79", strings.HasPrefix(f.Body(), "line 1\r\nline 2") && str(f.object, "routing_key") == "k\r\ndata: x\n\nid: evil",
				"a body and a key full of line breaks are whole: %s", f)
		}
	}
	all := seen["ready"] && seen["gap"] && seen["message"] && seen["bindings"] && seen["paused"] && seen["resumed"]
	t.Is("P-76", all, "as asyncapi.yaml describes them: %s", strings.Join(kinds, ", "))
	err := sse.End()
	t.Is("P-84", errors.Is(err, io.EOF) && len(sse.Rest()) == 0, "after bye: %v", err)
	for f := ws.Next(); f.Type() != "bye"; f = ws.Next() {
		t.Is("P-80", json.Valid(f.Raw), "one text message per frame")
	}
	code, _ := ws.Closed()
	t.Is("P-84", code == 4410 && len(ws.Rest()) == 0, "after bye: %v, and close frame %d", err, code)
	t.Is("P-80", code == 4410, "one text message per frame, then the close frame")
}

func framesProperties(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	got := s.SSE()
	got.Ready()
	want := object{
		"content_type": "text/plain", "content_encoding": "identity", "delivery_mode": 2, "priority": 3, "correlation_id": "c",
		"reply_to": "r", "expiration": "60000", "message_id": "m", "timestamp": 1773480413, "type": "t", "app_id": "a",
		"headers": object{"h": "v"},
	}
	t.PublishMessage(x, "a.b", Message{Body: []byte("one"), Properties: want})
	t.Publish(x, "c", "two")
	f := got.Expect("message")
	t.Is("P-82", str(f.object, "exchange") == x && str(f.object, "routing_key") == "a.b" && text(f.object["properties"]) == text(want),
		"%s %s %s", str(f.object, "exchange"), str(f.object, "routing_key"), text(f.object["properties"]))
	f = got.Expect("message")
	t.Is("P-82", text(f.object["properties"]) == "{}", "all properties under their names; without any: %s", text(f.object["properties"]))
}

func framesOrder(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a.#", x, "b.#"))
	got := s.SSE()
	got.Ready()
	const n = 20
	for i := range n {
		t.Publish(x, []string{"a.x", "b.y", "b"}[i%3], fmt.Sprint("m", i))
	}
	ordered := true
	for i := range n {
		ordered = got.Expect("message").Body() == fmt.Sprint("m", i) && ordered
	}
	t.Is("P-83", ordered, "%d messages to two bindings, in order: %v", n, ordered)
}
