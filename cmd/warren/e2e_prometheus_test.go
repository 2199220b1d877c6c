package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// prometheusPatience bounds what is waited for: a query over one minute has data after the second scrape.
const prometheusPatience = 2 * time.Minute

// Two gateways, because one on memory:// has no broker to tell of, and one on RabbitMQ no demo that stamps its messages. There is no query that
// legitimately finds nothing on them.
func TestPrometheusFindsDataForEveryPanelAndAlert(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	demo := warrentest.Start(t, "--demo")
	broker := rabbittest.VHost(t)
	onRabbitMQ := warrentest.Start(t, "--broker", broker)
	writePrometheusFiles(t, dir, demo, onRabbitMQ)
	promtool(t, nil, "check", "config", filepath.Join(dir, "prometheus.yml"))
	promtool(t, nil, "check", "rules", filepath.Join(dir, "alerts.yml"))

	p := startPrometheus(t, dir)
	load := startLoad(t, demo, onRabbitMQ, broker)
	ctx := bounded(t, prometheusPatience)
	left := append(dashboardQueries(t), alertQueries(t)...)
	slices.Sort(left)
	left = slices.Compact(left)
	if len(left) < 20 {
		t.Errorf("only %d queries were found", len(left))
	}
	warrentest.Eventually(ctx, func() bool {
		load()
		left = slices.DeleteFunc(left, func(query string) bool { return p.hasData(t, query) })
		return len(left) == 0
	})
	for _, query := range left {
		t.Errorf("no data: %s", query)
	}
	p.rulesAreWell(t)
	for _, g := range []*warrentest.Gateway{demo, onRabbitMQ} {
		promtool(t, scrape(t, g), "check", "metrics")
	}
}

// writePrometheusFiles writes docs/deploy/prometheus.yml with other addresses and shorter times, and alerts.yml as it is.
func writePrometheusFiles(t *testing.T, dir string, gateways ...*warrentest.Gateway) {
	t.Helper()
	var targets []string
	for _, g := range gateways {
		targets = append(targets, strconv.Quote(strings.TrimPrefix(g.Admin, "http://")))
	}
	config := page(t, "docs/deploy/prometheus.yml")
	for from, to := range map[string]string{
		`["warren:9090"]`:        "[" + strings.Join(targets, ", ") + "]",
		"scrape_interval: 15s\n": "scrape_interval: 1s\n  evaluation_interval: 1s\n",
	} {
		if strings.Count(config, from) != 1 {
			t.Fatalf("docs/deploy/prometheus.yml does not have %q once", from)
		}
		config = strings.ReplaceAll(config, from, to)
	}
	for name, text := range map[string]string{"prometheus.yml": config, "alerts.yml": page(t, "docs/deploy/alerts.yml")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// debian returns the path of a program of Debian's package prometheus.
func debian(t *testing.T, program string) string {
	t.Helper()
	name, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed: sudo apt-get install prometheus, or make deps", program)
	}
	return name
}

// promtool must find nothing to complain of.
func promtool(t *testing.T, input io.Reader, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), debian(t, "promtool"), args...)
	cmd.Stdin = input
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// scrape reads the metrics of a gateway.
func scrape(t *testing.T, g *warrentest.Gateway) io.Reader {
	t.Helper()
	body, err := fetch(t.Context(), g.Admin+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReader(body)
}

// fetch reads what an address answers with 200.
func fetch(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// scraper is a running Prometheus.
type scraper struct{ url string }

// startPrometheus starts Debian's, with the configuration in the directory, and stops it at the end of the test.
func startPrometheus(t *testing.T, dir string) scraper {
	t.Helper()
	port, err := rabbittest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), debian(t, "prometheus"), "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its log tells more
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill() // the same
			<-ended
		}
		if said, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("Prometheus said:\n%s", said)
		}
	})
	p := scraper{"http://" + address}
	ctx := bounded(t, prometheusPatience)
	if !warrentest.Eventually(ctx, func() bool {
		_, err := fetch(ctx, p.url+"/-/ready")
		return err == nil
	}) {
		t.Fatal("Prometheus is not ready")
	}
	return p
}

// ask asks the HTTP API and decodes the member data of the answer.
func (p scraper) ask(t *testing.T, path string, into any) {
	t.Helper()
	body, err := fetch(t.Context(), p.url+path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	answer := struct{ Data any }{into}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
}

// hasData tells whether a query has a value that is a number.
func (p scraper) hasData(t *testing.T, query string) bool {
	t.Helper()
	var data struct{ Result []struct{ Value [2]any } }
	p.ask(t, "/api/v1/query?"+url.Values{"query": {query}}.Encode(), &data)
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			return true
		}
	}
	return false
}

// rulesAreWell waits until each alert was evaluated, without an error.
func (p scraper) rulesAreWell(t *testing.T) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	warrentest.Eventually(bounded(t, prometheusPatience), func() bool {
		p.ask(t, "/api/v1/rules", &data)
		return len(data.Groups) > 0 && !slices.ContainsFunc(data.Groups[0].Rules, func(r struct{ Name, Health, LastError string }) bool { return r.Health == "unknown" })
	})
	if len(data.Groups) != 1 {
		t.Errorf("%d groups of alerts", len(data.Groups))
	}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				t.Errorf("%s: %s %s", rule.Name, rule.Health, rule.LastError)
			}
		}
	}
}

// dashboardQueries lists the queries of the dashboard's panels.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard any
	if err := json.Unmarshal([]byte(page(t, "docs/deploy/grafana-dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if query, ok := v["expr"].(string); ok {
				queries = append(queries, query)
			}
			for _, member := range v {
				walk(member)
			}
		case []any:
			for _, member := range v {
				walk(member)
			}
		}
	}
	walk(dashboard)
	slices.Sort(queries)
	return slices.Compact(queries)
}

// threshold is what an alert compares with at its end. What is compared must have data, also when all is well.
var threshold = regexp.MustCompile(` (==|>|<|>=|<=) [0-9.]+$`)

// alertQueries lists what the alerts look at.
func alertQueries(t *testing.T) []string {
	t.Helper()
	var queries []string
	for _, group := range at(t, deployFile(t, "alerts.yml")[0], "groups").([]any) {
		for _, rule := range at(t, group, "rules").([]any) {
			query := at(t, rule, "expr").(string)
			if !threshold.MatchString(query) {
				t.Errorf("no threshold: %s", query)
			}
			queries = append(queries, threshold.ReplaceAllString(query, ""))
		}
	}
	return queries
}

// startLoad opens streams on both gateways, has some requests refused, and returns what publishes a little more.
func startLoad(t *testing.T, demo, onRabbitMQ *warrentest.Gateway, broker string) func() {
	t.Helper()
	const exchange = "prometheus"
	publisher := newRabbitPublisher(t, broker)
	publisher.declare(exchange)
	var readers []*frameReader
	for range 3 {
		readers = append(readers, openSSE(t, demo.URL+"/v1/sse?exchange=builds", nil), openSSE(t, onRabbitMQ.URL+"/v1/sse?exchange="+exchange, nil))
		ws, conn := openWS(t, demo.URL+"/v1/ws?exchange=builds&share=false")
		if err := conn.Write(t.Context(), 1, []byte(`{"type":"ping"}`)); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, ws)
	}
	var all sync.WaitGroup
	for _, r := range readers {
		all.Go(func() {
			for {
				if _, err := r.frames(); err != nil { // the test closes it
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, r := range readers {
			r.close()
		}
		all.Wait()
	})
	for _, g := range []*warrentest.Gateway{demo, onRabbitMQ} {
		if status := request(t, http.MethodGet, g.URL+"/v1/sse?exchange=none.such", "", nil); status != http.StatusNotFound {
			t.Errorf("an exchange that is not there: %d", status)
		}
	}
	published := 0
	return func() {
		publisher.publish(exchange, published, published+9)
		published += 10
		if req := request(t, http.MethodGet, demo.URL+"/v1/subscriptions/none", "", nil); req != http.StatusNotFound {
			t.Errorf("a subscription that is not there: %d", req)
		}
	}
}
