// Command mutate proves the fault matrix: it makes one mistake after the other in a copy of the source, builds the gateway
// and runs the cells that must notice. It ends with status 1 when a mistake goes unnoticed, or when the source without a mistake is not
// accepted by the same cells.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/faults/matrix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// settle is how long a mutant may take to get over a fault: less than a gateway, because some never do.
const settle = 30 * time.Second

var errUnnoticed = errors.New("not every mistake is noticed")

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	only := flags.String("only", "", "only mutations whose name this regular expression matches")
	seed := flags.Uint64("seed", 1, "seed of the cells")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(mutations), func(m mutation) bool { return !pattern.MatchString(m.name) })
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	b := &bench{dir: dir, out: out, seed: *seed}
	if err := copyTree(root, b.tree()); err != nil {
		return err
	}
	if b.node, err = rabbittest.Start(ctx, rabbittest.Options{Plugins: []string{"rabbitmq_event_exchange"}}); err != nil {
		return err
	}
	defer b.node.Close() //nolint:errcheck // its watchdog removes the rest
	return b.all(ctx, chosen)
}

// moduleRoot returns the directory of go.mod.
func moduleRoot(ctx context.Context) (string, error) {
	text, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("looking for go.mod: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(text))), nil
}

// copyTree copies what the gateway is built from.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (base == "node_modules" || base == ".git" || name == "bin" || name == "dist") {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, name), 0o750)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path) //nolint:gosec // our own source
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o600)
	})
}

// bench is where mutants are made and tried.
type bench struct {
	dir  string
	out  io.Writer
	seed uint64
	node *rabbittest.Node
}

func (b *bench) tree() string { return filepath.Join(b.dir, "tree") }

// all tries the source as it is, and then every mutation.
func (b *bench) all(ctx context.Context, chosen []mutation) error {
	cells := make([]string, 0, len(chosen))
	for _, m := range chosen {
		if !slices.Contains(cells, m.cell) {
			cells = append(cells, m.cell)
		}
	}
	binary, err := b.build(ctx)
	if err != nil {
		return err
	}
	verdict, red := b.try(ctx, binary, strings.Join(cells, "|"))
	fmt.Fprintf(b.out, "%-42s %-8s %s\n", "no mistake", colour(red), verdict)
	if red {
		return errors.New("the source as it is is not accepted")
	}
	unnoticed := 0
	for _, m := range chosen {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		verdict, red, err := b.mutate(ctx, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if !red {
			unnoticed++
		}
		fmt.Fprintf(b.out, "%-42s %-8s %s\n", m.name, colour(red), verdict)
	}
	fmt.Fprintf(b.out, "%d of %d mistakes are noticed\n", len(chosen)-unnoticed, len(chosen))
	if unnoticed > 0 {
		return errUnnoticed
	}
	return nil
}

func colour(red bool) string {
	if red {
		return "red"
	}
	return "green"
}

// mutate makes a mistake, tries it and takes it back.
func (b *bench) mutate(ctx context.Context, m mutation) (verdict string, red bool, err error) {
	path := filepath.Join(b.tree(), m.file)
	text, err := os.ReadFile(path) //nolint:gosec // a copy of our own source
	if err != nil {
		return "", false, err
	}
	mutant, err := m.apply(string(text))
	if err != nil {
		return "", false, err
	}
	if err := os.WriteFile(path, []byte(mutant), 0o600); err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, text, 0o600)) }()
	binary, err := b.build(ctx)
	if err != nil {
		return "", false, err
	}
	verdict, red = b.try(ctx, binary, m.cell)
	return verdict, red, nil
}

// apply makes the mistake in a text.
func (m *mutation) apply(text string) (string, error) {
	if n := strings.Count(text, m.old); n != 1 {
		return "", fmt.Errorf("%q stands %d times in %s, not once", m.old, n, m.file)
	}
	return strings.Replace(text, m.old, m.mistake, 1), nil
}

func (b *bench) build(ctx context.Context) (string, error) {
	name := filepath.Join(b.dir, "warren")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", name, "./cmd/warren")
	cmd.Dir = b.tree()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w\n%s", err, out)
	}
	return name, nil
}

// try runs cells, and answers the first thing that the oracle has against them.
func (b *bench) try(ctx context.Context, binary, pattern string) (verdict string, red bool) {
	cells := matrix.Select(matrix.Cells(), regexp.MustCompile(pattern), false)
	results := matrix.Run(ctx, cells, matrix.Options{
		Binary: binary, Nodes: matrix.Nodes{Shared: b.node, Own: b.node}, Seed: b.seed, Runs: 1, Parallel: 2, Settle: settle,
	})
	for _, r := range results {
		if !r.Accepted() {
			return fmt.Sprintf("%s: %.200s", r.Cell.ID(), r.Problems[0]), true
		}
	}
	return fmt.Sprintf("%d cells accepted", len(results)), false
}
