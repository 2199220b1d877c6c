package suite

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

func init() {
	// In this order: the rate of creations takes the longest to recover, and the others need it.
	register(
		Check{Name: "own more than one may", Of: []string{"P-178", "P-139", "P-182"}, Needs: Alone, Run: limitsOwned},
		Check{
			Name: "use up the rate of requests", Needs: Alone, Run: limitsRequests,
			Of: []string{"P-134", "P-138", "P-140", "P-142", "P-143", "P-180"},
		},
		Check{Name: "use up the rate of creations", Of: []string{"P-179"}, Needs: Alone, Run: limitsCreates},
	)
}

// limitsRequests sends pings, each of which counts as a request, until one is refused. The limiter of the suite is passed by.
func limitsRequests(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	ws := s.WS()
	ws.Ready()
	burst := int(t.Bound("request-burst-per-caller"))
	ping := []byte(`{"type":"ping"}`)
	most := burst + int(t.Bound("request-rate-per-caller"))*3
	sent, refused := 0, 0
	var f *Frame
	for refused == 0 && sent < most {
		for range 50 {
			t.Must(ws.conn.Write(t.ctx, websocket.MessageText, ping))
			sent++
		}
		for range 50 {
			if f = ws.Next(); f.Type() == "error" {
				refused++
			}
		}
	}
	for refused > 0 && f.Type() != "error" { // a token came back between the last two
		t.Must(ws.conn.Write(t.ctx, websocket.MessageText, ping))
		f = ws.Next()
		sent++
	}
	t.Is("P-134", str(f.object, "problem", "code") == "rate_limited" && num(f.object, "problem", "status") == 429, "after %d requests: %s", sent, str(f.object, "problem", "code"))
	rest := t.hurry(ws, s.Path)
	after, err := strconv.Atoi(rest.Header.Get("Retry-After"))
	t.Is("P-180", rest.Refused(429, "rate_limited", "") && after >= 1, "after %d requests by WebSocket: %s, Retry-After: %d", sent, rest, after)
	t.Is("P-138", err == nil && after >= 1 && int64(after) == num(rest.Body, "retry_after_seconds"), "Retry-After: %d, retry_after_seconds: %d", after, num(rest.Body, "retry_after_seconds"))
	plain := t.hurry(ws, s.Path+"/sse")
	t.Is("P-142", plain.Refused(429, "rate_limited", ""), "an SSE endpoint without Accept: %s", plain)
	var stream *Stream
	var bye *Frame
	for range 20 {
		t.whileUsedUp(ws, func() {
			stream = t.sseUnlimited(s.Path + "/sse")
			bye = stream.Next()
		})
		if bye.Type() == "bye" {
			break
		}
		stream.Cut() // it had what came back meanwhile
	}
	retry, has := bye.Event.Line("retry")
	t.Is("P-140", stream.Status == http.StatusOK && bye.Type() == "bye" && num(bye.object, "code") == 4429 && bye.object["reconnect"] == true &&
		stream.End().Error() == "EOF" && len(stream.Rest()) == 0, "200, %s with retry: %s and the end", bye, retry)
	t.Is("P-143", has && retry == text(bye.object["retry_ms"]), "retry: %s, retry_ms %s", retry, text(bye.object["retry_ms"]))
	t.Wait(2 * time.Second) // for whoever comes next
}

// whileUsedUp has pings take what comes back of a rate of requests that is used up, while ask does what shall be refused: a request
// may be longer on its way than a token is.
func (t *T) whileUsedUp(ws *Stream, ask func()) {
	const enough = 50 // for what has come back since it was used up
	begun, over, sent := make(chan struct{}), make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { sent <- n }()
		tick := time.NewTicker(time.Duration(float64(time.Second) / (10 * t.Bound("request-rate-per-caller"))))
		defer tick.Stop()
		for {
			if n == enough {
				close(begun)
			}
			select {
			case <-over:
				return
			case <-tick.C:
			}
			if ws.conn.Write(t.ctx, websocket.MessageText, []byte(`{"type":"ping"}`)) != nil {
				return // who reads the answers says why
			}
			n++
		}
	}()
	select {
	case <-begun:
	case <-time.After(t.patience):
	}
	n := 0
	func() {
		defer func() {
			close(over)
			n = <-sent
		}()
		ask()
	}()
	for range n {
		ws.Next()
	}
}

// hurry makes GET requests that the suite's own limiter does not hold back, while the caller's rate is used up, until one is refused.
func (t *T) hurry(ws *Stream, path string) (refused *Reply) {
	for range 20 {
		t.whileUsedUp(ws, func() {
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			resp, err := t.client(t.transport).Do(t.request(Call{Method: http.MethodGet, Path: path}).WithContext(ctx))
			t.Must(err)
			if resp.StatusCode != http.StatusOK {
				refused = t.read(resp)
				return
			}
			cancel() // it had what came back meanwhile
			_ = resp.Body.Close()
		})
		if refused != nil {
			return refused
		}
	}
	t.Fatalf("GET %s is never refused", path)
	return nil
}

func limitsCreates(t *T) {
	x := t.Exchange("topic")
	q := query("exchange", x)
	shared := t.SSE("/v1/sse"+q, nil)
	shared.Ready()
	made, r := t.createUntilRefused(int(t.Bound("create-burst-per-caller") + 20*t.Bound("create-rate-per-caller")))
	after, _ := strconv.Atoi(r.Header.Get("Retry-After"))
	join := t.sseUnlimited("/v1/sse" + q)
	first := join.Next()
	t.Is("P-179", r.Refused(429, "rate_limited", "") && after >= 1 && first.Type() == "ready", "after %d creations: %s, Retry-After: %d; attaching to a shared one that is there: %s",
		made, r, after, first)
}

// createUntilRefused makes subscriptions and deletes them again, which keeps below the cap on what a caller owns. It makes
// eight at a time: one after the other can be as slow as the rate.
func (t *T) createUntilRefused(most int) (made int, last *Reply) {
	var links []string
	for made < most {
		links = links[:0]
		var refused *Reply
		for _, r := range t.atOnce(8, func(int) Call { return Call{Method: http.MethodPost, Path: "/v1/subscriptions", Body: `{}`} }) {
			switch last = r; r.Status {
			case http.StatusCreated:
				links = append(links, r.Header.Get("Location"))
			default:
				refused = r
			}
		}
		made += len(links)
		t.atOnce(len(links), func(i int) Call { return Call{Method: http.MethodDelete, Path: links[i]} })
		if refused != nil {
			return made, refused
		}
	}
	return made, last
}

func limitsOwned(t *T) {
	most := int(t.Bound("max-subscriptions-per-caller"))
	var r *Reply
	var last string
	// Some may be left of checks before; they give way or expire.
	made := 0
	for made <= most {
		if r = t.TryCreate(`{}`); r.Status != http.StatusCreated {
			break
		}
		last = "/v1/subscriptions/" + str(r.Body, "id")
		made++
	}
	limit := r.Refused(429, "limit_reached", "") && str(r.Body, "limit") == "max-subscriptions-per-caller"
	t.Is("P-139", str(r.Body, "limit") != "", "%s", r)
	ws := t.WS("/v1/ws", nil)
	bye := ws.Next()
	code, _ := ws.Closed()
	t.Do(Call{Method: http.MethodDelete, Path: last})
	again := t.WS("/v1/ws", nil)
	ready := again.Next()
	t.Is("P-182", limit && ready.Type() == "ready", "%s; after one was deleted: %s", r, ready)
	again.Cut()
	// The one that a stream made, and that has none any more, gives way.
	path := "/v1/subscriptions/" + str(ready.object, "subscription")
	t.Eventually(t.patience, "the cut stream is no longer counted", func() bool { return num(t.Get(path).Body, "attachments", "ws") == 0 })
	more := t.TryCreate(`{}`)
	gone := t.Get(path)
	t.Is("P-178", limit && made > 0 && made <= most && code == 4429 && num(bye.object, "code") == 4429 && more.Status == http.StatusCreated && gone.Code() == "subscription_not_found",
		"the %dth: %s, WebSocket %s; one that a stream made and left gives way: %s, then %s", made+1, r, bye, more, gone)
}
