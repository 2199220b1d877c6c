// Command mutate proves that the conformance suite notices mistakes: it plants one at a time into a copy of the gateway's
// source, builds it, runs the suite against it with memory://, and reports that the suite turned red.
//
//	go run ./cmd/conformance/mutate
//
// The exit status is 1 when the suite stayed green for any of them, when one could not be planted because the source has
// changed, or when the suite is not green without a mistake.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/warren-gateway/warren/cmd/conformance/contract"
	"github.com/warren-gateway/warren/cmd/conformance/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// lab is where mistakes are planted.
type lab struct {
	root string // of the module
	dir  string // for copies and binaries
	spec *contract.Contract
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := pflag.NewFlagSet("mutate", pflag.ContinueOnError)
	only := flags.String("only", "", "plant only faults whose name has this in it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	spec, err := contract.Load()
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := &lab{root, dir, spec}
	if err := l.healthy(ctx, out); err != nil {
		return err
	}
	green := 0
	for i, f := range faults {
		if !strings.Contains(f.Name, *only) {
			continue
		}
		began := time.Now()
		red, err := l.try(ctx, f)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", f.Name, err)
		case len(red) == 0:
			green++
			fmt.Fprintf(out, "%2d GREEN %s: none of %v is reported\n", i+1, f.Name, f.Breaks)
		default:
			fmt.Fprintf(out, "%2d red   %s (%.1f s)\n         %s %s\n", i+1, f.Name, time.Since(began).Seconds(), red[0].ID, cut(red[0].Seen))
		}
	}
	if green > 0 {
		return fmt.Errorf("the suite did not notice %d faults", green)
	}
	return nil
}

// healthy runs without a mistake what the faults are noticed by: it must be green.
func (l *lab) healthy(ctx context.Context, out io.Writer) error {
	whole := fault{Name: "no fault", Args: maps.Clone(impatient)}
	for _, f := range faults {
		whole.Breaks = append(whole.Breaks, f.Breaks...)
	}
	red, err := l.try(ctx, whole)
	if err != nil {
		return err
	}
	for _, r := range red {
		fmt.Fprintf(out, "%s %s\n", r.ID, r.Seen)
	}
	if len(red) > 0 {
		return fmt.Errorf("the suite is not green without a fault")
	}
	slices.Sort(whole.Breaks)
	fmt.Fprintf(out, "   green without a fault: %d requirements\n", len(slices.Compact(whole.Breaks)))
	return nil
}

// try plants a fault, builds the gateway and returns which of the requirements that it breaks are reported as broken.
func (l *lab) try(ctx context.Context, f fault) ([]suite.Row, error) {
	overlay, err := l.plant(f)
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(l.dir, "warren")
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", binary, "./cmd/warren")
	build.Dir = l.root
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, said)
	}
	// Rates at which the suite need not wait; those that it uses up are a little lower.
	bounds := map[string]float64{"request-rate-per-caller": 200, "request-burst-per-caller": 400, "create-rate-per-caller": 50}
	maps.Copy(bounds, f.Args)
	gateway, err := suite.Start(ctx, binary, suite.ServeArgs(l.spec, "memory://", bounds)...)
	if err != nil {
		return nil, err
	}
	defer gateway.Stop()
	rows, err := suite.Run(ctx, suite.Options{URL: gateway.URL, Bounds: bounds, Only: f.Breaks, Patience: 4 * time.Second})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rows, func(r suite.Row) bool { return !r.Failed() || !slices.Contains(f.Breaks, r.ID) }), nil
}

// plant writes the changed copies and an overlay that has the compiler read them, and returns its name.
func (l *lab) plant(f fault) (string, error) {
	changed := map[string][]byte{}
	for _, e := range f.Edits {
		text, ok := changed[e.File]
		if !ok {
			var err error
			if text, err = os.ReadFile(filepath.Join(l.root, e.File)); err != nil {
				return "", err
			}
		}
		after, err := e.apply(string(text))
		if err != nil {
			return "", err
		}
		changed[e.File] = []byte(after)
	}
	replace := map[string]string{}
	for file, text := range changed {
		name := filepath.Join(l.dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(l.root, file)] = name
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(l.dir, "overlay.json")
	return name, os.WriteFile(name, overlay, 0o600)
}

// apply makes the edit; it is an error if the text does not stand there exactly once.
func (e edit) apply(text string) (string, error) {
	if n := strings.Count(text, e.Old); n != 1 {
		return "", fmt.Errorf("%s has %d times, not once: %s", e.File, n, e.Old)
	}
	return strings.Replace(text, e.Old, e.New, 1), nil
}

// moduleRoot returns the directory of go.mod.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

func cut(s string) string {
	if r := []rune(s); len(r) > 160 {
		return string(r[:160]) + "…"
	}
	return s
}
