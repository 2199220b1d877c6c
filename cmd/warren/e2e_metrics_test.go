package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	metricsBegin = "<!-- metrics: written by go test ./cmd/warren -run TestEveryMetricIsDescribed -update -->\n"
	metricsEnd   = "<!-- end of metrics -->\n"
)

var (
	// descPattern finds a metric in metrics.go: name, help and labels.
	descPattern   = regexp.MustCompile(`desc\("(\w+)", "([^"]*)"((?:, "\w+")*)\)`)
	typePattern   = regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`)
	metricPattern = regexp.MustCompile(`\bwarren_[a-z_]+[a-z]\b`)
)

// describedMetric is one that metrics.go has, as it says.
type describedMetric struct{ name, help, labels string }

// describedMetrics lists what metrics.go exports.
func describedMetrics(t *testing.T) []describedMetric {
	t.Helper()
	source, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []describedMetric
	for _, m := range descPattern.FindAllStringSubmatch(string(source), -1) {
		all = append(all, describedMetric{"warren_" + m[1], m[2], strings.ReplaceAll(strings.TrimPrefix(m[3], ", "), `"`, "`")})
	}
	return all
}

// metricNames lists the names that queries may use for what metrics.go exports.
func metricNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range describedMetrics(t) {
		names = append(names, m.name)
		if strings.HasSuffix(m.name, "_to_write_seconds") { // the histograms
			names = append(names, m.name+"_bucket", m.name+"_sum", m.name+"_count")
		}
	}
	return names
}

// exportedTypes returns the type of each metric in Prometheus' text format.
func exportedTypes(text string) map[string]string {
	types := map[string]string{}
	for _, m := range typePattern.FindAllStringSubmatch(text, -1) {
		types[m[1]] = m[2]
	}
	return types
}

func TestEveryMetricIsDescribed(t *testing.T) {
	const name = "docs/operations.md"
	g := startGateway(t, "--demo")
	_, exported := g.call("GET", g.admin+"/metrics", "")
	types := exportedTypes(exported)

	var sb strings.Builder
	sb.WriteString("\n| metric | type | labels | |\n| --- | --- | --- | --- |\n")
	described := map[string]bool{}
	for _, m := range describedMetrics(t) {
		described[m.name] = true
		if types[m.name] == "" {
			t.Errorf("%s is described and not exported", m.name)
		}
		fmt.Fprintf(&sb, "| `%s` | %s | %s | %s |\n", m.name, types[m.name], m.labels, escapeCell(m.help))
	}
	sb.WriteString("\n")
	text := page(t, name)
	before, rest, found := strings.Cut(text, metricsBegin)
	_, after, end := strings.Cut(rest, metricsEnd)
	if !found || !end {
		t.Fatalf("%s has no place for the metrics", name)
	}
	mustBeCurrent(t, name, before+metricsBegin+sb.String()+metricsEnd+after)
	for exported := range types {
		if strings.HasPrefix(exported, "warren_") && !described[exported] {
			t.Errorf("%s is exported and not described", exported)
		}
	}
}

// TestPagesNameRealMetrics holds the alerts, the pages and the deployment files to what there is.
func TestPagesNameRealMetrics(t *testing.T) {
	names := metricNames(t)
	files := pages(t)
	deploy, err := filepath.Glob(filepath.Join(repository, "docs/deploy/*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range deploy {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			files = append(files, strings.TrimPrefix(file, repository+"/"))
		}
	}
	for _, file := range files {
		for _, m := range metricPattern.FindAllString(page(t, file), -1) {
			if m != "warren_token" && !slices.Contains(names, m) { // that is the cookie
				t.Errorf("%s names %s, which is not exported", file, m)
			}
		}
	}
}
