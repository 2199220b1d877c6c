package suite

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

func init() {
	register(
		Check{Name: "read a subscription", Of: []string{"P-19", "P-20", "P-26"}, Run: manageRead},
		Check{Name: "ask for subscriptions that are not there", Of: []string{"P-21"}, Run: manageUnknown},
		Check{Name: "change and delete a subscription", Of: []string{"P-22", "P-23", "P-149"}, Run: manageDelete},
		Check{Name: "let a subscription expire", Of: []string{"P-24"}, Needs: Patient, Run: manageExpire},
		Check{Name: "list subscriptions without a token", Of: []string{"P-25"}, Needs: Anonymous, Run: manageList},
		Check{Name: "ask for methods and paths", Of: []string{"P-27", "P-28", "P-29"}, Run: manageMethods},
		Check{Name: "change one subscription many times at once", Of: []string{"P-30"}, Run: manageAtOnce},
		Check{Name: "list exchanges", Of: []string{"P-31"}, Run: manageExchanges},
	)
}

func manageRead(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	first := s.Get()
	t.Wait(1100 * time.Millisecond)
	second := s.Get()
	t.Is("P-19", str(first, "expires_at") == str(second, "expires_at") && str(first, "id") == s.ID && num(second, "attachments", "sse") == 0,
		"read twice: expires_at stays %s", str(second, "expires_at"))
	sse, ws := s.SSE(), s.WS()
	sse.Ready()
	ws.Ready()
	now := s.Get()
	t.Is("P-20", num(now, "attachments", "sse") == 1 && num(now, "attachments", "ws") == 1 && (now["expires_at"] == nil || t.options.Token != ""),
		"attachments %s, expires_at %v", text(now["attachments"]), now["expires_at"])
	ws.Cut()
	t.Eventually(t.patience, "the WebSocket that ended is no longer counted", func() bool { return num(s.Get(), "attachments", "ws") == 0 })
	for _, path := range []string{s.Path, s.Path + "/sse", "/v1/exchanges", "/v1/sse" + query("exchange", x, "share", "false"), "/readyz"} {
		r := t.Do(Call{Method: http.MethodHead, Path: path})
		t.Is("P-26", r.Status == http.StatusOK && len(r.Raw) == 0, "HEAD %s: %s with %d bytes", path, r, len(r.Raw))
	}
	r := t.Do(Call{Method: http.MethodHead, Path: s.Path + "x"})
	n := num(s.Get(), "attachments", "sse")
	t.Is("P-26", r.Status == http.StatusNotFound && n == 1, "HEAD of an unknown id: %s; attached after HEAD on the stream: %d", r, n)
}

func manageUnknown(t *T) {
	gone := t.Create(on())
	t.Do(Call{Method: http.MethodDelete, Path: gone.Path})
	tried := 0
	for _, base := range []string{"/v1/subscriptions/" + strings.Repeat("0", 22), gone.Path} {
		for _, c := range []Call{
			{Method: http.MethodGet},
			{Method: http.MethodPatch, Body: object{"linger_seconds": 5}},
			{Method: http.MethodDelete},
			{Method: http.MethodPost, Path: "/bindings", Body: object{"bindings": on("x", "#")}},
			{Method: http.MethodPut, Path: "/bindings", Body: object{"bindings": on()}},
			{Method: http.MethodDelete, Path: "/bindings/abc"},
			{Method: http.MethodPost, Path: "/pause"},
			{Method: http.MethodPost, Path: "/resume"},
			{Method: http.MethodGet, Path: "/sse"},
		} {
			c.Path = base + c.Path
			r := t.Do(c)
			tried++
			t.Is("P-21", r.Refused(404, "subscription_not_found", ""), "%d calls of unknown and deleted ids, the last: %s %s", tried, c.Method, r)
		}
		f := t.WS(base+"/ws", nil).Next()
		t.Is("P-21", f.Type() == "bye" && num(f.object, "code") == 4404, "WebSocket: %s", f)
	}
}

func manageDelete(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"))
	r := t.Do(Call{Method: http.MethodPatch, Path: s.Path, Body: object{"linger_seconds": 7}})
	t.Is("P-22", r.Status == http.StatusOK && num(r.Body, "linger_seconds") == 7 && num(s.Get(), "linger_seconds") == 7, "%s, linger_seconds %d",
		r, num(r.Body, "linger_seconds"))
	sse, ws := s.SSE(), s.WS()
	sse.Ready()
	ws.Ready()
	r = t.Do(Call{Method: http.MethodDelete, Path: s.Path})
	one, two := sse.Next(), ws.Next()
	code, reason := ws.Closed()
	again := t.Get(s.Path)
	byes := func(f *Frame) bool {
		return f.Type() == "bye" && num(f.object, "code") == 4410 && str(f.object, "reason") == "subscription_deleted" && f.object["reconnect"] == false
	}
	t.Is("P-23", r.Status == http.StatusNoContent && byes(one) && byes(two) && again.Refused(404, "subscription_not_found", ""),
		"%s; streams got %s and %s; then %s", r, one, two, again)
	t.Is("P-149", byes(one) && byes(two) && code == 4410 && reason == "subscription_deleted", "SSE %s, WebSocket closed with %d %s", one, code, reason)
}

func manageExpire(t *T) {
	const linger = 6 // seconds, which are enough to attach in
	s := t.Create(on(), "linger_seconds", linger)
	ws := s.WS()
	ws.Ready()
	t.Wait((linger + 1) * time.Second)
	held := t.Get(s.Path).Status
	ws.Cut()
	began := time.Now()
	// Looking does not prolong its life.
	ok := t.Eventually(20*time.Second, "the subscription expires", func() bool { return t.Get(s.Path).Code() == "subscription_not_found" })
	t.Is("P-24", ok && held == http.StatusOK, "there while attached, gone %.1f s after its last attachment (linger %d s)", time.Since(began).Seconds(), linger)
}

func manageList(t *T) {
	r := t.Get("/v1/subscriptions")
	t.Is("P-25", r.Refused(403, "forbidden", ""), "%s", r)
}

func manageMethods(t *T) {
	s := t.Create(on())
	for path, c := range map[string]struct{ allow, not string }{
		"/v1/subscriptions":              {"GET, HEAD, POST, OPTIONS", http.MethodPut},
		s.Path:                           {"GET, HEAD, PATCH, DELETE, OPTIONS", http.MethodPost},
		s.Path + "/bindings":             {"POST, PUT, OPTIONS", http.MethodGet},
		s.Path + "/bindings/b":           {"DELETE, OPTIONS", http.MethodGet},
		s.Path + "/pause":                {"POST, OPTIONS", http.MethodGet},
		s.Path + "/resume":               {"POST, OPTIONS", http.MethodPut},
		s.Path + "/sse":                  {"GET, HEAD, OPTIONS", http.MethodPost},
		s.Path + "/ws":                   {"GET, HEAD, OPTIONS", http.MethodPost},
		"/v1/sse":                        {"GET, HEAD, OPTIONS", http.MethodDelete},
		"/v1/ws":                         {"GET, HEAD, OPTIONS", http.MethodPost},
		"/v1/exchanges":                  {"GET, HEAD, OPTIONS", http.MethodPost},
		"/livez":                         {"GET, HEAD, OPTIONS", http.MethodPost},
		"/openapi.yaml":                  {"GET, HEAD, OPTIONS", http.MethodPost},
		"/":                              {"GET, HEAD, OPTIONS", http.MethodPost},
		"/v1/exchanges/none/publish":     {"POST, OPTIONS", http.MethodGet},
		exchangePath("a/b") + "/publish": {"POST, OPTIONS", http.MethodPut},
	} {
		if strings.HasSuffix(path, "/publish") && t.options.AMQPURL != "" {
			continue
		}
		r := t.Do(Call{Method: http.MethodOptions, Path: path})
		t.Is("P-27", r.Status == http.StatusNoContent && r.Header.Get("Allow") == c.allow, "%s: %s, Allow: %s", path, r, r.Header.Get("Allow"))
		r = t.Do(Call{Method: c.not, Path: path})
		t.Is("P-28", r.Refused(405, "method_not_allowed", "") && r.Header.Get("Allow") == c.allow, "%s %s: %s, Allow: %s", c.not, path, r, r.Header.Get("Allow"))
	}
	for _, path := range []string{"/v1/nothing", "/v1", "/v2/subscriptions", s.Path + "/nothing", "/nothing"} {
		r := t.Get(path)
		t.Is("P-29", r.Refused(404, "not_found", ""), "%s: %s", path, r)
	}
}

func manageAtOnce(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on())
	const n = 8
	taken := 0
	for _, r := range t.atOnce(n, func(i int) Call {
		return Call{Method: http.MethodPost, Path: s.Path + "/bindings", Body: object{"bindings": on(x, fmt.Sprint("k", i))}}
	}) {
		if r.Status == http.StatusOK {
			taken++
		}
	}
	now := s.Get()
	got := s.SSE("from", "earliest")
	got.Ready()
	var f *Frame
	for range n {
		f = got.Expect("bindings")
	}
	t.Is("P-30", taken == n && len(list(now, "bindings")) == n && len(list(f.object, "bindings")) == n,
		"%d of %d taken, %d bindings, the last of %d markers has %d", taken, n, len(list(now, "bindings")), n, len(list(f.object, "bindings")))
}

func manageExchanges(t *T) {
	x := t.Exchange("topic")
	t.Create(on(x, "#"))
	r := t.Get("/v1/exchanges")
	exchanges := list(r.Body, "exchanges")
	all := make([]string, 0, len(exchanges))
	for _, e := range exchanges {
		all = append(all, str(e, "name"))
	}
	t.Is("P-31", r.Status == http.StatusOK && slices.Contains(all, x) && !slices.Contains(all, ""), "%s, %d exchanges, the bound one among them", r, len(all))
}
