package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// series returns the samples of /metrics by name and labels.
func (g *running) series() map[string]float64 {
	g.t.Helper()
	_, text := g.call("GET", g.admin+"/metrics", "")
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "} ")
		if name += "}"; !found {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(line, "#") {
			all[name] = n
		}
	}
	return all
}

// eventually waits until a series has a value.
func (g *running) eventually(series string, want float64) {
	g.t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		got, there := g.series()[series]
		if there && got == want {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			g.t.Fatalf("%s is %v (there: %v), want %v", series, got, there, want)
		}
	}
}

// stamped publishes a message that says when it was published.
func (g *running) stamped(exchange string, at time.Time, headers string) {
	g.t.Helper()
	body := fmt.Sprintf(`{"routing_key":"k","payload":"1","payload_encoding":"string","properties":{"timestamp":%d,"headers":{"sent_ms":%d%s}}}`,
		at.Unix(), at.UnixMilli(), headers)
	if status, answer := g.call("POST", g.url+"/v1/exchanges/"+exchange+"/publish", body); status != 200 {
		g.t.Fatalf("publishing: %d %s", status, answer)
	}
}

// send sends a request on a WebSocket and waits for an answer of the type.
func send(t *testing.T, r *frameReader, conn *websocket.Conn, request, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(request)); err != nil {
		t.Fatal(err)
	}
	awaitFrame(t, r, answer)
}

// awaitFrame reads until a frame of the type and returns it.
func awaitFrame(t *testing.T, r *frameReader, kind string) string {
	t.Helper()
	for {
		frame, err := r.frames()
		if err != nil {
			t.Fatalf("waiting for %s: %v", kind, err)
		}
		if strings.HasPrefix(string(frame), `{"type":"`+kind+`"`) {
			return string(frame)
		}
	}
}

// loaded is a gateway that something of everything has happened to.
func loaded(t *testing.T) *running {
	t.Helper()
	g := startGateway(t, "--latency-header", "sent_ms")
	g.declare("orders")
	sse := openSSE(t, g.url+"/v1/sse?exchange=orders", nil)
	awaitFrame(t, sse, "ready")
	ws, conn := openWS(t, g.url+"/v1/ws?exchange=orders")
	awaitFrame(t, ws, "ready")
	g.stamped("orders", time.Now().Add(-time.Hour), "")
	awaitFrame(t, ws, "message")
	awaitFrame(t, sse, "message")
	send(t, ws, conn, `{"type":"pause"}`, "paused")
	for range 11 {
		g.stamped("orders", time.Now(), "")
	}
	for range 11 {
		awaitFrame(t, sse, "message")
	}
	send(t, ws, conn, `{"type":"bind","bindings":[{"exchange":"orders","routing_key":"#"}]}`, "error")
	g.call("GET", g.url+"/v1/nothing", "")
	g.call("GET", g.url+"/v1/subscriptions/unknown", "")
	return g
}

func TestWebSocketThatBringsNoTokenCountsAsRefused(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, "--jwt-key", key, "--jwt-hs256")
	ws, conn := openWS(t, g.url+"/v1/ws")
	send(t, ws, conn, `{"type":"ping"}`, "bye")
	g.eventually(`warren_refusals_total{code="unauthorized"}`, 1)
	g.eventually(`warren_stream_refusals_total{reason="unauthorized"}`, 1)
}

func TestMetricsSayWhatHappened(t *testing.T) {
	g := loaded(t)
	g.eventually(`warren_messages_sent_total{transport="sse"}`, 12)
	got := g.series()
	for series, want := range map[string]float64{
		`warren_attachments{transport="ws"}`:                                    1,
		`warren_attachment_max_lag_frames`:                                      11,
		`warren_attachments_behind_frames{over="0"}`:                            1,
		`warren_attachments_behind_frames{over="10"}`:                           1,
		`warren_attachments_behind_frames{over="100"}`:                          0,
		`warren_attachments_behind_seconds{over="60"}`:                          0,
		`warren_refusals_total{code="not_found"}`:                               1,
		`warren_refusals_total{code="subscription_not_found"}`:                  1,
		`warren_refusals_total{code="shared_subscription"}`:                     1,
		`warren_refusals_total{code="rate_limited"}`:                            0,
		`warren_stream_closes_total{code="4410",reason="subscription_deleted"}`: 0,
		`warren_publish_to_write_seconds_bucket{transport="ws",le="30"}`:        0,
		`warren_publish_to_write_seconds_count{transport="ws"}`:                 1,
		`warren_receive_to_write_seconds_count{transport="ws"}`:                 1,
		`warren_broker_ready`:                                                   1,
		`warren_broker_unacked_messages`:                                        0,
		`warren_messages_dropped_total`:                                         0,
	} {
		if value, there := got[series]; !there || value != want {
			t.Errorf("%s is %v (there: %v), want %v", series, value, there, want)
		}
	}
	if age := got[`warren_attachment_max_lag_seconds`]; age <= 0 {
		t.Errorf("the oldest of these messages is %v s old", age)
	}
	if sum := got[`warren_publish_to_write_seconds_sum{transport="ws"}`]; sum < 3600 {
		t.Errorf("a message published an hour ago took %v s", sum)
	}
}

// TestMetricsAreCleanAndTheirNumberBounded runs what promtool check metrics runs.
func TestMetricsAreCleanAndTheirNumberBounded(t *testing.T) {
	g := loaded(t)
	_, text := g.call("GET", g.admin+"/metrics", "")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	before := len(g.series())
	for i := range 10 {
		exchange := "more" + strconv.Itoa(i)
		g.declare(exchange)
		awaitFrame(t, openSSE(t, g.url+"/v1/sse?share=false&exchange="+exchange, nil), "ready")
	}
	if after := len(g.series()); after != before {
		t.Errorf("%d series, and %d with ten subscriptions more", before, after)
	}
}

// queryName finds what a query asks for: a name that no bracket, no sign of
// equality and no label list follows or surrounds.
var (
	queryString = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring) *\([^)]*\)`)
	queryName   = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\b *\(?`)
)

// metricsOfQuery lists the metrics in a PromQL expression.
func metricsOfQuery(query string) []string {
	var names []string
	for _, word := range queryName.FindAllString(queryString.ReplaceAllString(query, " "), -1) {
		if strings.HasSuffix(word, "(") || word == "or" || word == "and" || word == "unless" {
			continue
		}
		names = append(names, strings.TrimSpace(word))
	}
	return names
}

// dashboard is what this test reads of a Grafana dashboard.
type dashboard struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ Expr string }
		GridPos struct{ X, Y, W, H int }
	}
	Templating struct {
		List []struct{ Name, Type string }
	}
}

// check holds the dashboard to what any Grafana can show at once.
func (d *dashboard) check(t *testing.T) {
	t.Helper()
	ids, rows := map[int]bool{}, 0
	for _, p := range d.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q is there twice, or too wide", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			rows++
		}
	}
	if v := d.Templating.List; rows != 5 || len(v) != 1 || v[0].Type != "datasource" {
		t.Errorf("%d rows, variables %v", rows, v)
	}
}

// deployedQueries returns the queries of the dashboard and the alerts, with where they are.
func deployedQueries(t *testing.T) map[string]string {
	t.Helper()
	var board dashboard
	if err := json.Unmarshal([]byte(page(t, "docs/deploy/grafana-dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	board.check(t)
	queries := map[string]string{}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			queries[target.Expr] = "the panel " + p.Title
		}
	}
	for line := range strings.Lines(page(t, "docs/deploy/alerts.yml")) {
		if expr, found := strings.CutPrefix(strings.TrimSpace(line), "expr: "); found {
			queries[expr] = "an alert"
		}
	}
	if len(queries) < 50 {
		t.Fatalf("only %d queries", len(queries))
	}
	return queries
}

func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	exported := map[string]bool{"up": true} // that one is Prometheus' own
	for series := range loaded(t).series() {
		name, _, _ := strings.Cut(series, "{")
		exported[name] = true
	}
	for query, where := range deployedQueries(t) {
		if strings.Contains(query, "$") {
			t.Errorf("%s: %s needs a variable", where, query)
		}
		for _, name := range metricsOfQuery(query) {
			if !exported[name] {
				t.Errorf("%s asks for %s, which no loaded gateway has: %s", where, name, query)
			}
		}
	}
}
