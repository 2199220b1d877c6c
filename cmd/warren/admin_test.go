package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// subscriptionsBy asks the admin listener.
func (g *running) subscriptionsBy(query string) (list subscriptionList) {
	g.t.Helper()
	status, body := g.call("GET", g.admin+"/admin/subscriptions"+query, "")
	if status != http.StatusOK {
		g.t.Fatalf("%s: %d %s", query, status, body)
	}
	var raw struct {
		Total         int
		By            string
		Subscriptions []json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &raw); err != nil {
		g.t.Fatal(err)
	}
	list.Total, list.By = raw.Total, raw.By
	for _, text := range raw.Subscriptions {
		var s struct {
			Stream, Kind, Owner string
			LogBytes            int64   `json:"log_bytes"`
			MaxLagFrames        uint64  `json:"max_lag_frames"`
			FramesPerSecond     float64 `json:"frames_per_second"`
			BindingCount        int     `json:"binding_count"`
			Bindings            []struct{ Exchange string }
			Attachments         struct{ SSE, WS int }
		}
		if err := json.Unmarshal(text, &s); err != nil {
			g.t.Fatal(err)
		}
		l := listedSubscription{
			Stream: s.Stream, Kind: s.Kind, Owner: s.Owner, LogBytes: s.LogBytes, MaxLagFrames: s.MaxLagFrames,
			FramesPerSecond: s.FramesPerSecond, BindingCount: s.BindingCount,
		}
		l.Attachments.SSE, l.Attachments.WS = s.Attachments.SSE, s.Attachments.WS
		list.Subscriptions = append(list.Subscriptions, l)
	}
	return list
}

func TestOperatorSeesWhoTakesMostAndEvictsOne(t *testing.T) {
	g := startGateway(t)
	for _, exchange := range []string{"large", "busy", "lagging"} {
		g.declare(exchange)
	}
	sub := createSubscription(t, g.url, "large")
	busy := openSSE(t, g.url+"/v1/sse?exchange=busy", nil)
	awaitFrame(t, busy, "ready")
	lagging, conn := openWS(t, g.url+"/v1/ws?exchange=lagging")
	awaitFrame(t, lagging, "ready")
	send(t, lagging, conn, `{"type":"pause"}`, "paused")
	g.call("POST", g.url+"/v1/exchanges/large/publish",
		`{"routing_key":"k","payload":"`+strings.Repeat("x", 50_000)+`","payload_encoding":"string","properties":{}}`)
	g.publish("lagging", 1, 5)
	g.publish("busy", 1, 20)
	g.eventually("warren_messages_received_total", 26)
	g.eventually(`warren_messages_sent_total{transport="sse"}`, 20) // the busy one has no lag

	first := g.topThree()
	if top := g.subscriptionsBy(""); top.By != "memory" || top.Subscriptions[0].LogBytes < 50_000 || first["memory"] != sub.Stream {
		t.Errorf("by memory: %+v, want %s", top, sub.Stream)
	}
	if _, text := g.call("GET", g.admin+"/admin/subscriptions", ""); strings.Contains(text, sub.ID) {
		t.Errorf("the list has the subscription id, which is a secret: %s", text)
	}
	if top := g.subscriptionsBy("?by=lag").Subscriptions[0]; top.MaxLagFrames != 5 || top.Attachments.WS != 1 || top.Kind != "shared" {
		t.Errorf("by lag: %+v", top)
	}
	if top := g.subscriptionsBy("?by=rate").Subscriptions[0]; top.FramesPerSecond <= 0 || top.Attachments.SSE != 1 || top.BindingCount != 1 {
		t.Errorf("by rate: %+v", top)
	}

	// Shared or owned, with readers of both kinds or none.
	for by, reader := range map[string]*frameReader{"lag": lagging, "rate": busy, "memory": nil} {
		g.evict(first[by], reader)
	}
	if status, body := g.call("DELETE", g.admin+"/admin/subscriptions/"+first["lag"], ""); status != 404 || !strings.Contains(body, "subscription_not_found") {
		t.Errorf("again: %d %s", status, body)
	}
	if status, _ := g.call("DELETE", g.admin+"/admin/subscriptions/"+sub.ID, ""); status != 404 {
		t.Errorf("by subscription id: %d", status)
	}
	if left := g.subscriptionsBy(""); left.Total != 0 || len(left.Subscriptions) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// topThree returns the first subscription in each order, of three that there are.
func (g *running) topThree() map[string]string {
	g.t.Helper()
	first := map[string]string{}
	for _, by := range []string{"memory", "lag", "rate"} {
		list := g.subscriptionsBy("?by=" + by)
		if list.Total != 3 || list.By != by || len(list.Subscriptions) != 3 {
			g.t.Fatalf("by %s: %+v", by, list)
		}
		first[by] = list.Subscriptions[0].Stream
		if one := g.subscriptionsBy("?limit=1&by=" + by); one.Total != 3 || len(one.Subscriptions) != 1 || one.Subscriptions[0].Stream != first[by] {
			g.t.Errorf("by %s, limited: %+v", by, one)
		}
	}
	return first
}

// evict evicts a subscription; its reader, if not nil, must be told.
func (g *running) evict(stream string, reader *frameReader) {
	g.t.Helper()
	if status, body := g.call("DELETE", g.admin+"/admin/subscriptions/"+stream, ""); status != http.StatusNoContent {
		g.t.Fatalf("evicting: %d %s", status, body)
	}
	if reader == nil {
		return
	}
	if bye := awaitFrame(g.t, reader, "bye"); !strings.Contains(bye, `"code":4410,"reason":"subscription_deleted"`) {
		g.t.Errorf("the reader got %s", bye)
	}
}

func TestAdminListIsBounded(t *testing.T) {
	g := startGateway(t)
	for _, query := range []string{"?limit=0", "?limit=101", "?limit=x", "?by=name", "?by=memory%20"} {
		if status, body := g.call("GET", g.admin+"/admin/subscriptions"+query, ""); status != 400 || !strings.Contains(body, `"code":"invalid_request"`) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	g.declare("e")
	for i := range 21 {
		awaitFrame(t, openSSE(t, g.url+"/v1/sse?exchange=e&routing_key=k"+strconv.Itoa(i), nil), "ready")
	}
	if list := g.subscriptionsBy(""); list.Total != 21 || len(list.Subscriptions) != 20 {
		t.Errorf("%d of %d", len(list.Subscriptions), list.Total)
	}
	if status, _ := g.call("POST", g.admin+"/admin/subscriptions", "{}"); status != 405 {
		t.Errorf("POST answers %d", status)
	}
	if status, _ := g.call("GET", g.url+"/admin/subscriptions", ""); status != 404 {
		t.Errorf("the public listener answers %d", status)
	}
}

func TestPagesOfOtherSitesCannotUseTheAdminListener(t *testing.T) {
	type answer struct{ loopback, open int } // of a listener on loopback, and of one that is not
	for name, c := range map[string]struct {
		method, path, host string
		header             []string
		want               answer
	}{
		"curl":                           {"DELETE", "/x", "127.0.0.1:9090", nil, answer{200, 200}},
		"curl, IPv6":                     {"DELETE", "/x", "[::1]:9090", nil, answer{200, 200}},
		"Prometheus":                     {"GET", "/metrics", "localhost:9090", nil, answer{200, 200}},
		"Prometheus, by name":            {"GET", "/metrics", "warren:9090", nil, answer{421, 200}},
		"the page itself":                {"DELETE", "/x", "localhost:9090", []string{"Sec-Fetch-Site: same-origin", "Origin: http://localhost:9090"}, answer{200, 200}},
		"a page by address":              {"DELETE", "/x", "10.0.0.7:9090", []string{"Sec-Fetch-Site: same-origin", "Origin: http://10.0.0.7:9090"}, answer{421, 200}},
		"the address bar":                {"GET", "/", "localhost:9090", []string{"Sec-Fetch-Site: none"}, answer{200, 200}},
		"a link on another site":         {"GET", "/", "localhost:9090", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, answer{200, 200}},
		"a frame on another site":        {"GET", "/", "localhost:9090", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, answer{403, 403}},
		"a link to a profile":            {"GET", "/debug/pprof/profile", "localhost:9090", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, answer{403, 403}},
		"an image on another site":       {"GET", "/debug/pprof/profile", "localhost:9090", []string{"Sec-Fetch-Site: cross-site"}, answer{403, 403}},
		"a page on another port":         {"DELETE", "/x", "localhost:9090", []string{"Sec-Fetch-Site: same-site", "Origin: http://localhost:3000"}, answer{403, 403}},
		"a foreign page":                 {"DELETE", "/x", "localhost:9090", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, answer{403, 403}},
		"a foreign page, old browser":    {"DELETE", "/x", "localhost:9090", []string{"Origin: https://evil.example"}, answer{403, 403}},
		"a page without an origin":       {"DELETE", "/x", "localhost:9090", []string{"Origin: null"}, answer{403, 403}},
		"two origins":                    {"DELETE", "/x", "localhost:9090", []string{"Origin: http://localhost:9090", "Origin: https://evil.example"}, answer{403, 403}},
		"a name that was rebound":        {"DELETE", "/x", "evil.example:9090", []string{"Sec-Fetch-Site: same-origin", "Origin: http://evil.example:9090"}, answer{421, 403}},
		"a name that was rebound, reads": {"GET", "/admin/subscriptions", "evil.example:9090", []string{"Sec-Fetch-Site: same-origin"}, answer{421, 200}},
		"a name that looks like an own":  {"DELETE", "/x", "localhost.evil.example", nil, answer{421, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			for loopback, want := range map[bool]int{true: c.want.loopback, false: c.want.open} {
				r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
				r.Host = c.host
				for _, line := range c.header {
					key, value, _ := strings.Cut(line, ": ")
					r.Header.Add(key, value)
				}
				w := httptest.NewRecorder()
				guardAdmin(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), loopback).ServeHTTP(w, r)
				if w.Code != want {
					t.Errorf("on loopback %v: %d, want %d: %s", loopback, w.Code, want, w.Body)
				}
				if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("headers are %v", w.Header())
				}
			}
		})
	}
}

// TestAdminListenerIsGuarded proves that the guard stands before the routes, and not before probes.
func TestAdminListenerIsGuarded(t *testing.T) {
	g := startGateway(t)
	for path, want := range map[string]int{
		"/": 421, "/metrics": 421, "/admin/subscriptions": 421, "/debug/pprof/": 421, "/nothing": 421, "/livez": 200, "/readyz": 200,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "evil.example"
		resp, err := g.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// TestAdminPageRunsWhatItsPolicyAllows holds the page to what the policy lets a
// browser do with it: nothing from elsewhere, no handlers and styles in attributes.
func TestAdminPageRunsWhatItsPolicyAllows(t *testing.T) {
	g := startGateway(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.admin+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	policy := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'; ", "script-src " + hashOf(adminPage, "script") + "; ", "style-src " + hashOf(adminPage, "style") + "; ",
		"connect-src 'self'; ", "form-action 'none'; ", "frame-ancestors 'none'",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %q in %q", want, policy)
		}
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if strings.Count(adminPage, "<script") != 1 || strings.Count(adminPage, "<style") != 1 {
		t.Error("the policy knows one script and one style")
	}
	for _, bad := range []string{` on\w+=`, ` style=`, `https?://`, `innerHTML`, ` src=`, `@import`} {
		if found := regexp.MustCompile(bad).FindString(adminPage); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
}

func TestAdminPageListsAndEvictsInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	g := startGateway(t)
	g.declare("orders")
	reader := openSSE(t, g.url+"/v1/sse?exchange=orders", nil)
	awaitFrame(t, reader, "ready")
	tab := startChromium(t).open(t, g.admin+"/")
	tab.awaitTrue(t, `document.querySelectorAll("#rows tr").length === 1 && document.getElementById("state").textContent === "ok"`)
	tab.awaitTrue(t, `document.querySelector("#rows").textContent.includes("orders=#") && getComputedStyle(document.querySelector("table")).borderCollapse === "collapse"`)
	tab.evaluate(t, `window.confirm = () => true; document.querySelector("#rows button").click()`)
	if bye := awaitFrame(t, reader, "bye"); !strings.Contains(bye, `"code":4410`) {
		t.Errorf("the reader got %s", bye)
	}
	tab.awaitTrue(t, `document.querySelectorAll("#rows tr").length === 0 && document.getElementById("error").textContent === ""`)
}

func TestVersionSaysWhatWasBuilt(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), process{args: []string{"version"}, stdout: &out, stderr: &out}); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^warren \S.* \(commit \S+, built \S+\)\n$`).MatchString(out.String()) {
		t.Errorf("it says %q", out.String())
	}
}
