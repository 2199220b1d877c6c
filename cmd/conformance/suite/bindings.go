package suite

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

func init() {
	register(
		Check{Name: "bind while streaming", Of: []string{"P-109", "P-110", "P-111"}, Run: bindingsAdd},
		Check{Name: "bind with one binding that is refused", Of: []string{"P-112", "P-113"}, Run: bindingsHalf},
		Check{Name: "set the bindings while publishing", Of: []string{"P-114"}, Run: bindingsSet},
		Check{Name: "unbind while streaming", Of: []string{"P-115", "P-116"}, Run: bindingsRemove},
		Check{Name: "bind more than there may be", Of: []string{"P-117", "P-177", "P-139"}, Run: bindingsTooMany},
		Check{Name: "bind and unbind on a WebSocket", Of: []string{"P-118"}, Run: bindingsSocket},
		Check{Name: "delete an exchange under its binding", Of: []string{"P-119", "P-108"}, Needs: AMQP | Patient, Run: bindingsExchange},
	)
}

func bindingsAdd(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a"))
	sse, ws := s.SSE(), s.WS()
	sse.Ready()
	ws.Ready()
	t.Publish(x, "a", "m1")
	seen := [2][]string{{"message " + sse.Bodies(1)}, {"message " + ws.Bodies(1)}} // it has come before the change
	now := s.Bind(on(x, "b")...)
	t.Publish(x, "b", "m2")
	s.Bind(on(x, "b", x, "a")...) // there already
	t.Publish(x, "a", "m3")
	r := t.Do(Call{Method: http.MethodPut, Path: s.Path + "/bindings", Body: object{"bindings": on(x, "b", x, "a")}})
	t.Publish(x, "a", "m4")
	for range 4 {
		for i, stream := range []*Stream{sse, ws} {
			f := stream.Next()
			seen[i] = append(seen[i], strings.TrimSpace(f.Type()+" "+f.Body()+keys(list(f.object, "bindings"))))
		}
	}
	want := fmt.Sprintf("message m1, bindings %[1]s a, %[1]s b, message m2, message m3, message m4", x)
	one, two := strings.Join(seen[0], ", "), strings.Join(seen[1], ", ")
	t.Is("P-109", keys(list(now, "bindings")) == x+" a, "+x+" b" && strings.Contains(one, "message m2"), "bindings [%s]; then m2 came", keys(list(now, "bindings")))
	t.Is("P-110", sorted(one) == sorted(want) && one == two, "both: %s", one)
	t.Is("P-111", r.Status == http.StatusOK && strings.Count(one, "bindings ") == 1, "three changes, of which two change nothing: %d frame", strings.Count(one, "bindings "))
}

// sorted takes bindings in any order.
func sorted(s string) string {
	return strings.ReplaceAll(s, " b, ", " b; ")
}

func bindingsHalf(t *T) {
	x, gone := t.Exchange("topic"), t.Name()
	s := t.Create(on(x, "a"))
	own, other := s.SSE(), t.WS("/v1/ws"+query("exchange", x, "routing_key", "a"), nil)
	own.Ready()
	other.Ready()
	r := t.Post(s.Path+"/bindings", object{"bindings": on(x, "b", gone, "#")})
	t.Publish(x, "b", "unwanted")
	t.Publish(x, "a", "m1")
	f, g := own.Next(), other.Next()
	refused := r.Refused(404, "exchange_not_found", "") || r.Refused(403, "forbidden_binding", "")
	t.Is("P-112", refused && num(r.Body, "binding") == 1 && len(list(s.Get(), "bindings")) == 1 && f.Body() == "m1", "%s; bindings: %s; then %s", r,
		keys(list(s.Get(), "bindings")), f)
	t.Is("P-113", f.Body() == "m1" && g.Body() == "m1", "this stream goes on with %s, another with %s", f, g)
}

func bindingsSet(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a.b"))
	got := s.SSE()
	got.Ready()
	sets := [][]binding{on(x, "a.#"), on(x, "a.b", x, "z"), on(x, "*.b"), on(x, "a.b")}
	failed := make(chan error, 1)
	go func() { // ends after its last change, which is waited for
		defer close(failed)
		for _, set := range sets {
			if err := s.put(set); err != nil {
				failed <- err
				return
			}
		}
	}()
	const n = 15
	for i := range n {
		t.Publish(x, "a.b", fmt.Sprint("m", i))
	}
	t.Must(<-failed)
	t.Publish(x, "a.b", "end")
	var missing []string
	markers := 0
	for i := 0; i <= n; {
		f := got.Next()
		if f.Type() == "bindings" {
			markers++
			continue
		}
		want := fmt.Sprint("m", i)
		if i == n {
			want = "end"
		}
		if f.Body() != want {
			missing = append(missing, want)
			break
		}
		i++
	}
	now := keys(list(s.Get(), "bindings"))
	t.Is("P-114", len(missing) == 0 && markers == len(sets) && now == x+" a.b", "%d messages during %d changes, missed %v; now [%s]", n, markers, missing, now)
}

// put sets bindings from another goroutine than the check's.
func (s *Subscription) put(bindings []binding) error {
	req := s.t.request(Call{Method: http.MethodPut, Path: s.Path + "/bindings", Body: object{"bindings": bindings}})
	if err := s.t.requests.Wait(s.t.ctx); err != nil {
		return err
	}
	resp, err := s.t.client(s.t.transport).Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT bindings: %s", resp.Status)
	}
	return nil
}

func bindingsRemove(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a", x, "b"))
	sse := s.SSE()
	sse.Ready()
	var id string
	for _, b := range list(s.First, "bindings") {
		if str(b, "routing_key") == "b" {
			id = str(b, "id")
		}
	}
	r := t.Do(Call{Method: http.MethodDelete, Path: s.Path + "/bindings/" + id})
	t.Publish(x, "b", "unwanted")
	t.Publish(x, "a", "m1")
	marker, f := sse.Next(), sse.Next()
	t.Is("P-116", marker.Type() == "bindings" && f.Body() == "m1", "published to the removed binding and to another: %s", f)
	again := t.Do(Call{Method: http.MethodDelete, Path: s.Path + "/bindings/" + id})
	t.Is("P-115", r.Status == http.StatusOK && keys(list(r.Body, "bindings")) == x+" a" && again.Refused(404, "binding_not_found", ""),
		"%s, left [%s]; again: %s", r, keys(list(r.Body, "bindings")), again)
	ws := s.WS()
	ws.Ready()
	bad := ws.Ask(object{"type": "unbind", "bindings": on(x, "a", x, "none")})
	t.Is("P-115", str(bad.object, "problem", "code") == "binding_not_found" && num(bad.object, "problem", "binding") == 1 && len(list(s.Get(), "bindings")) == 1,
		"by id %s and then %s; unbind of one that is there and one that is not: %s at %d, left [%s]", r, again, str(bad.object, "problem", "code"),
		num(bad.object, "problem", "binding"), keys(list(s.Get(), "bindings")))
}

func bindingsTooMany(t *T) {
	x := t.Exchange("topic")
	most := int(t.Bound("max-bindings"))
	all := make([]binding, 0, most)
	for i := range most {
		all = append(all, on(x, fmt.Sprint("k", i))...)
	}
	s := t.Create(all)
	r := t.Post(s.Path+"/bindings", object{"bindings": on(x, "one.more")})
	left := len(list(s.Get(), "bindings"))
	t.Is("P-117", r.Refused(429, "limit_reached", "") && str(r.Body, "limit") == "max-bindings", "the %dth: %s", most+1, r)
	t.Is("P-177", r.Code() == "limit_reached" && left == most, "the %dth: %s; left %d", most+1, r, left)
	t.Is("P-139", str(r.Body, "limit") != "", "%s", r)
	ws := s.WS()
	ws.Ready()
	f := ws.Ask(object{"type": "bind", "bindings": on(x, "one.more")})
	t.Is("P-117", str(f.object, "problem", "code") == "limit_reached", "the %dth: %s; on a WebSocket %s", most+1, r, str(f.object, "problem", "code"))
}

func bindingsSocket(t *T) {
	x, gone := t.Exchange("topic"), t.Name()
	ws := t.WS("/v1/ws", nil)
	id := str(ws.Ready().object, "subscription")
	ok := ws.Ask(object{"type": "bind", "ref": "r1", "bindings": on(x, "a", x, "b")})
	t.Publish(x, "a", "m1")
	marker, f := ws.Next(), ws.Next()
	t.Is("P-118", ok.Type() == "ok" && str(ok.object, "ref") == "r1" && str(ok.object, "subscription", "id") == id &&
		len(list(ok.object["subscription"].(object), "bindings")) == 2 && marker.Type() == "bindings" && f.Body() == "m1", "bind: %s, %s, %s", ok.Type(), marker, f)
	ok = ws.Ask(object{"type": "unbind", "bindings": on(x, "a")})
	marker = ws.Next()
	t.Is("P-118", ok.Type() == "ok" && keys(list(marker.object, "bindings")) == x+" b", "unbind: %s, %s", ok.Type(), marker)
	for _, c := range []struct {
		bindings any
		status   int64
	}{{on("", "a"), 400}, {on("warren.x", "#"), 403}, {on(gone, "#"), 404}, {[]binding{}, 400}} {
		rest := t.Post("/v1/subscriptions/"+id+"/bindings", object{"bindings": c.bindings})
		f := ws.Ask(object{"type": "bind", "bindings": c.bindings})
		p, _ := f.object["problem"].(object)
		t.Is("P-118", f.Type() == "error" && text(p) == text(rest.Body) && (num(p, "status") == c.status || c.status == 404 && num(p, "status") == 403),
			"bind and unbind: ok, with the subscription; refusals as REST answers them, the last: %s", str(p, "code"))
	}
}

func bindingsExchange(t *T) {
	x, y := t.Exchange("topic"), t.Exchange("topic")
	s := t.Create(on(x, "#", y, "#"))
	sse, ws := s.SSE(), s.WS()
	sse.Ready()
	ws.Ready()
	t.Publish(x, "a", "m1")
	sse.Expect("message")
	began := time.Now()
	t.Must(t.source.Delete(t, x))
	gap := sse.Next()
	took := time.Since(began)
	marker := sse.Next()
	missed, there := gap.object["missed"]
	t.Is("P-108", there && missed == nil, "%s", gap)
	t.Publish(y, "a", "m2")
	between := sse.Next()
	t.Must(t.source.Declare(t, x, "topic"))
	back := sse.Next()
	t.Publish(x, "a", "m3")
	last := sse.Next()
	missing, bound := keys(list(marker.object, "bindings")), keys(list(back.object, "bindings"))
	t.Is("P-119", gap.IsGap("binding_lost") && strings.Contains(missing, x+" # missing") && between.Body() == "m2" && !strings.Contains(bound, "missing") &&
		last.Body() == "m3" && took < 12*time.Second, "after %.1f s %s, %s; meanwhile %s; when it was back %s, then %s", took.Seconds(), gap, marker, between, back, last)
}
