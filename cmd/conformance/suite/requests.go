package suite

import (
	"strings"

	"github.com/coder/websocket"
)

func init() {
	register(
		Check{Name: "send requests that are right and wrong", Of: []string{"P-127", "P-128"}, Run: requestsAll},
		Check{Name: "send a token where none is needed", Of: []string{"P-133"}, Needs: Anonymous, Run: requestsToken},
		Check{Name: "send what is no request", Of: []string{"P-129", "P-130", "P-146", "P-147"}, Run: requestsNone},
	)
}

func requestsAll(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a"))
	ws := s.WS()
	ws.Ready()
	answers := map[string]int{}
	for i, c := range []struct {
		request object
		want    string
	}{
		{object{"type": "ping"}, "pong"},
		{object{"type": "pause"}, "ok"},
		{object{"type": "resume"}, "ok"},
		{object{"type": "bind", "bindings": on(x, "b")}, "ok"},
		{object{"type": "unbind", "bindings": on(x, "b")}, "ok"},
		{object{"type": "auth", "token": "nonsense"}, "error"},
	} {
		c.request["ref"] = "r" + text(i)
		if err := t.contract.Request([]byte(text(c.request))); err != nil {
			t.Errorf("the suite sends a request against the contract: %v", err)
		}
		f := ws.Ask(c.request)
		answers[f.Type()]++
		t.Is("P-127", f.Type() == c.want && str(f.object, "ref") == "r"+text(i), "%v answers, each with its ref; the last: %s to %s", answers, f.Type(), str(c.request, "type"))
	}
	for _, bad := range []string{
		`[]`, `"x"`, `1`, `null`, `{}`, `{"type":"subscribe"}`, `{"type":1}`, `{"type":"ping","ref":1}`, `{"type":"ping","ref":""}`,
		`{"type":"ping","ref":"` + strings.Repeat("r", 129) + `"}`, `{"type":"ping","extra":1}`, `{"type":"bind"}`, `{"type":"bind","bindings":{}}`,
		`{"type":"bind","bindings":[{"exchange":"` + x + `"}]}`, `{"type":"auth"}`,
	} {
		ws.SendRaw(websocket.MessageText, []byte(bad))
		f := ws.Skip("error")
		t.Is("P-128", str(f.object, "problem", "code") == "invalid_request", "%.60s: %s", bad, oneLine(string(f.Raw)))
	}
	f := ws.Ask(object{"type": "ping"})
	t.Is("P-128", f.Type() == "pong", "15 bad requests were answered by error invalid_request, and then ping by %s", f.Type())
	t.Is("P-127", len(ws.Rest()) == 0 && f.object["ref"] == nil, "each was answered once, with its ref if it had one")
}

func requestsToken(t *T) {
	ws := t.Create(on()).WS()
	ws.Ready()
	f := ws.Ask(object{"type": "auth", "token": "t"})
	t.Is("P-133", f.Type() == "error" && str(f.object, "problem", "code") == "invalid_request", "auth: %s", str(f.object, "problem", "code"))
}

func requestsNone(t *T) {
	s := t.Create(on())
	for _, c := range []struct {
		id   string
		kind websocket.MessageType
		raw  string
		code int
		why  string
	}{
		{"P-129", websocket.MessageText, `nonsense`, 4400, "protocol_error"},
		{"P-129", websocket.MessageText, `{"type":"ping"}{"type":"ping"}`, 4400, "protocol_error"},
		{"P-129", websocket.MessageText, ``, 4400, "protocol_error"},
		{"P-129", websocket.MessageBinary, `{"type":"ping"}`, 4400, "protocol_error"},
		{"P-130", websocket.MessageText, `{"type":"ping","ref":"` + strings.Repeat("r", 16<<10) + `"}`, 1009, "frame_too_large"},
	} {
		ws := s.WS()
		ws.Ready()
		ws.SendRaw(c.kind, []byte(c.raw))
		f := ws.Next()
		code, reason := ws.Closed()
		t.Is(c.id, f.Type() == "bye" && str(f.object, "reason") == c.why && code == c.code, "%.30q: %s, closed with %d %s", c.raw, f, code, reason)
		t.Is("P-147", int64(code) == num(f.object, "code") && reason == str(f.object, "reason"), "%s, closed with %d %s", f, code, reason)
		t.Is("P-146", f.object["reconnect"] == false && t.closes(f), "%s reconnect %v", f, f.object["reconnect"])
	}
	fits := s.WS()
	fits.Ready()
	pad := strings.Repeat(" ", 16<<10-len(`{"type":"ping"}`))
	fits.SendRaw(websocket.MessageText, []byte(`{"type":"ping"}`+pad))
	t.Is("P-130", fits.Next().Type() == "pong", "16 KiB are answered, more is closed with 1009 frame_too_large")
}

// closes tells whether a bye is a row of the table of close codes.
func (t *T) closes(bye *Frame) bool {
	for _, row := range t.contract.Tables().Closes {
		for _, reason := range row.Reasons {
			if reason == str(bye.object, "reason") {
				return num(bye.object, "code") == int64(row.Code) && bye.object["reconnect"] == row.Reconnect
			}
		}
	}
	return false
}
