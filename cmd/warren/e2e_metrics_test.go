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
	exportPattern = regexp.MustCompile(`(?m)^# HELP (warren_\w+) `)
	metricPattern = regexp.MustCompile(`\bwarren_[a-z_]+[a-z]\b`)
)

// metricNames lists what metrics.go exports.
func metricNames(t *testing.T) (names []string, table string) {
	t.Helper()
	source, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	var sb strings.Builder
	sb.WriteString("\n| metric | type | labels | |\n| --- | --- | --- | --- |\n")
	for _, m := range descPattern.FindAllStringSubmatch(string(source), -1) {
		name, kind := "warren_"+m[1], "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		labels := strings.ReplaceAll(strings.TrimPrefix(m[3], ", "), `"`, "`")
		fmt.Fprintf(&sb, "| `%s` | %s | %s | %s |\n", name, kind, labels, escapeCell(m[2]))
		names = append(names, name)
	}
	sb.WriteString("\n")
	return names, sb.String()
}

func TestEveryMetricIsDescribed(t *testing.T) {
	const name = "docs/operations.md"
	names, table := metricNames(t)
	text := page(t, name)
	before, rest, found := strings.Cut(text, metricsBegin)
	_, after, end := strings.Cut(rest, metricsEnd)
	if !found || !end {
		t.Fatalf("%s has no place for the metrics", name)
	}
	mustBeCurrent(t, name, before+metricsBegin+table+metricsEnd+after)

	// What the gateway really exports, should it be made in another way.
	g := startGateway(t, "--demo")
	_, exported := g.call("GET", g.admin+"/metrics", "")
	found = false
	for _, m := range exportPattern.FindAllStringSubmatch(exported, -1) {
		found = true
		if !slices.Contains(names, m[1]) {
			t.Errorf("%s is exported and not described", m[1])
		}
	}
	if !found {
		t.Errorf("no metric is exported:\n%s", exported)
	}
}

// TestPagesNameRealMetrics holds the alerts, the pages and the deployment files to what there is.
func TestPagesNameRealMetrics(t *testing.T) {
	names, _ := metricNames(t)
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
