package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/bench/role"
)

// TestMain lets the test binary be what the command is: it re-executes itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-"+role.Flag {
		if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	rabbittest.Main(m)
}

// TestPacedScenarioMeasuresTheGatewayBesideOthers runs real processes, small and short.
func TestPacedScenarioMeasuresTheGatewayBesideOthers(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	var out, progress bytes.Buffer
	args := []string{"-quick", "-scenario", "b", "-out", page, "-warren", os.Getenv("WARREN_TEST_BINARY")}
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	for _, row := range []string{"warren SSE", "warren WebSocket", "warren, REST SSE", "r3labs/sse SSE", "bare loop SSE", "bare loop WebSocket"} {
		_, cells, found := strings.Cut(out.String(), "| "+row+" | ")
		if !found {
			t.Errorf("no row %q in\n%s", row, out.String())
			continue
		}
		// CPU per delivery, CPU, deliveries, writes and segments per delivery: some of all was counted.
		for i, cell := range strings.SplitN(cells, " | ", 6)[:5] {
			if n, err := strconv.ParseFloat(strings.ReplaceAll(cell, ",", ""), 64); err != nil || n <= 0 {
				t.Errorf("%s has %q in column %d of\n%s", row, cell, i+1, out.String())
			}
		}
	}
	if part := "| deliveries/s | writes per delivery | segments per delivery |"; !strings.Contains(out.String(), part) {
		t.Errorf("no %q in\n%s", part, out.String())
	}
	for _, name := range []string{page, strings.TrimSuffix(page, ".md") + ".svg"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownRoleIsRefused(t *testing.T) {
	if err := run(t.Context(), []string{"-" + role.Flag, "nobody"}, nil, &bytes.Buffer{}); err == nil {
		t.Error("it was taken")
	}
}
