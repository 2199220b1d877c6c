package suite

import (
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

func init() {
	register(
		Check{Name: "refuse a WebSocket", Of: []string{"P-148", "P-150", "P-151", "P-152", "P-146", "P-147"}, Run: closingRefuse},
		Check{Name: "close a WebSocket from here", Of: []string{"P-153", "P-157"}, Run: closingClient},
	)
}

func closingRefuse(t *T) {
	for _, c := range []struct {
		id, path string
		code     int
		reason   string
	}{
		{"P-150", "/v1/subscriptions/" + strings.Repeat("0", 22) + "/ws", 4404, "subscription_not_found"},
		{"P-151", "/v1/ws" + query("exchange", t.Name()), 4404, "exchange_not_found"},
		{"P-152", "/v1/ws" + query("exchange", "warren.x"), 4403, "forbidden_binding"},
		{"P-148", "/v1/ws" + query("exchange", "x", "nonsense", "1"), 4400, "invalid_request"},
	} {
		ws := t.WS(c.path, nil)
		f := ws.Next()
		code, reason := ws.Closed()
		ok := code == c.code && reason == c.reason || c.id == "P-151" && code == 4403 && reason == "forbidden_binding"
		t.Is(c.id, ok && f.Type() == "bye", "%s, closed with %d %s", f, code, reason)
		t.Is("P-148", ws.Status == http.StatusSwitchingProtocols && f.Type() == "bye" && len(ws.Rest()) == 0, "%d, then %s alone, then %d", ws.Status, f, code)
		t.Is("P-147", num(f.object, "code") == int64(code) && str(f.object, "reason") == reason, "%s, closed with %d %s", f, code, reason)
		t.Is("P-146", t.closes(f), "%s reconnect %v", f, f.object["reconnect"])
	}
	ws := t.WS("/v1/ws", header("Origin", "https://evil.example"))
	t.Is("P-148", ws.Refuse != nil && ws.Status == http.StatusForbidden, "101, then bye alone; a forbidden origin gets plain HTTP %d", ws.Status)
}

func closingClient(t *T) {
	s := t.Create(on())
	for _, code := range []websocket.StatusCode{websocket.StatusNormalClosure, websocket.StatusGoingAway, 4999} {
		ws := s.WS()
		ws.Ready()
		t.Is("P-157", ws.Pinged(), "a ping frame was answered")
		came := ws.Close(code)
		t.Is("P-153", came == int(code) && len(ws.Rest()) == 0, "closed with %d: came back %d, and %d frames", code, came, len(ws.Rest()))
	}
}
