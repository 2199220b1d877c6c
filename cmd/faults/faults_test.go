package main

import (
	"bytes"
	"flag"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/faults/matrix"
	"github.com/warren-gateway/warren/cmd/faults/world"
)

// TestMain has four cells at a time, and not as many as there are cores: they mostly wait.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	rabbittest.Main(m)
}

// TestSelection runs the part of the matrix that is for every day, below three minutes. The cells that kill the broker come first,
// the rest side by side.
func TestSelection(t *testing.T) {
	node := rabbittest.Private(t)
	binary, err := world.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	opts := matrix.Options{
		Binary: binary, Nodes: matrix.Nodes{Shared: node, Own: node}, Runs: 1, Seed: uint64(time.Now().Unix()),
	}
	cells := matrix.Select(matrix.Cells(), regexp.MustCompile(""), true)
	for _, own := range []bool{true, false} {
		name := "TheBrokerIsTheirs"
		if !own {
			name = "TheBrokerIsShared"
		}
		t.Run(name, func(t *testing.T) {
			for _, cell := range cells {
				if cell.Setup.Own == own {
					t.Run(cell.ID(), func(t *testing.T) { judge(t, cell, opts, !own) })
				}
			}
		})
	}
}

func judge(t *testing.T, cell matrix.Cell, opts matrix.Options, parallel bool) {
	t.Helper()
	if parallel {
		t.Parallel()
	}
	for _, r := range matrix.Run(t.Context(), []matrix.Cell{cell}, opts) {
		var text bytes.Buffer
		matrix.NewTable(&text, []matrix.Cell{cell}).Add(r)
		if t.Log(text.String()); !r.Accepted() {
			t.Errorf("rejected with seed %d", opts.Seed)
		}
	}
}

func TestTwoThousandSubscriptionsAreBackWithinTwiceTheTimeOfABareClient(t *testing.T) {
	node := rabbittest.Private(t)
	binary, err := world.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ok, err := matrix.Recovery(t.Context(), matrix.RecoveryOptions{Binary: binary, Node: node, Subscriptions: 2000, Out: t.Output()})
	if err != nil || !ok {
		t.Error("not recovered as it must:", err)
	}
}

func TestMatrixHasEnoughCellsAndEachItsOwnName(t *testing.T) {
	cells := matrix.Cells()
	names := make(map[string]bool)
	for _, c := range cells {
		if names[c.ID()] {
			t.Errorf("two cells are called %q", c.ID())
		}
		names[c.ID()] = true
	}
	if len(cells) < 40 {
		t.Errorf("%d cells", len(cells))
	}
	pairs := 0
	for name := range names {
		if strings.Contains(name, " + ") {
			pairs++
		}
	}
	if pairs < 10 {
		t.Errorf("%d pairs", pairs)
	}
}

func TestCommandLine(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-list", "-short"}, &out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n < 8 {
		t.Errorf("%d cells for every day", n)
	}
	for _, args := range [][]string{{"-cell", "("}, {"-cell", "no such cell"}, {"unexpected"}, {"-runs", "x"}} {
		if err := run(t.Context(), args, &out); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
