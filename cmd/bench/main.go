// Command bench measures the gateway side by side with its peers: it starts each of them, a publisher and readers as processes
// of their own, runs scenario after scenario, and prints tables with ratios. See docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/peer"
	"github.com/warren-gateway/warren/cmd/bench/proc"
	"github.com/warren-gateway/warren/cmd/bench/publish"
	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/role"
	"github.com/warren-gateway/warren/cmd/bench/scenario"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// roles are what this program is when it re-executes itself.
var roles = map[string]func() map[string]role.Handler{
	load.Role:         load.Handlers,
	publish.Role:      publish.Handlers,
	peer.R3labsRole:   peer.R3labsHandlers,
	peer.LoopRole:     peer.LoopHandlers,
	peer.ConsumerRole: peer.ConsumerHandlers,
}

// options are the command line.
type options struct {
	scenarios string
	quick     bool
	runs      int
	out       string
	binary    string
	role      string
	profiles  string
}

func parse(args []string, usage io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.scenarios, "scenario", "", "letters of the scenarios to run, as \"abd\"; empty: all")
	flags.BoolVar(&o.quick, "quick", false, "small and short: tries the benchmark, its figures mean nothing")
	flags.IntVar(&o.runs, "runs", 1, "how often to run it all; the tables have medians, and the extremes where they matter")
	flags.StringVar(&o.out, "out", "", "file to write the tables to, with a plot beside it; in a page with the benchmark's marks only that part is replaced")
	flags.StringVar(&o.binary, "warren", "", "binary of the gateway; empty: built from the tree")
	flags.StringVar(&o.profiles, "profiles", "", "directory for CPU profiles of the gateway, one for each measurement; empty: none are taken")
	flags.StringVar(&o.role, role.Flag, "", "for the benchmark itself: be one of its processes")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, nil
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	if o.role != "" {
		handlers, ok := roles[o.role]
		if !ok {
			return fmt.Errorf("no role %q", o.role)
		}
		// The driver ends a role by closing its input; an interrupt is the driver's.
		return role.Serve(context.WithoutCancel(ctx), os.Stdin, out, handlers())
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	if o.binary == "" {
		if o.binary, err = target.Build(ctx, dir); err != nil {
			return err
		}
	}
	if o.profiles != "" {
		if err = os.MkdirAll(o.profiles, 0o750); err != nil {
			return err
		}
	}
	return measure(ctx, o, dir, out, progress)
}

func measure(ctx context.Context, o *options, dir string, out, progress io.Writer) error {
	files, err := proc.Files()
	if err != nil {
		return err
	}
	r := report.New()
	env := &scenario.Env{
		Binary: o.binary, Dir: dir, Quick: o.quick, Files: files, Cores: runtime.NumCPU(), Out: progress, Report: r, Profiles: o.profiles,
	}
	env.Start()
	begun, before := time.Now(), proc.Load()
	err = runAll(ctx, o, env)
	err = errors.Join(err, env.Close())
	head := report.Head{
		"on " + begun.UTC().Format("2 January 2006, 15:04") + " UTC, " + fmt.Sprintf("%.0f minutes, %d run(s)", time.Since(begun).Minutes(), o.runs),
		"by `go run ./cmd/bench " + strings.Join(os.Args[1:], " ") + "`",
		proc.Machine() + ", " + runtime.Version() + fmt.Sprintf(", at most %d open files per process", files),
		"load average of the machine before the first scenario: " + before + " (a quiet machine: below 0.5; what is above was somebody else's work)",
	}
	fmt.Fprint(out, r.Markdown(head, ""))
	if o.out != "" {
		err = errors.Join(err, r.Write(o.out, head))
	}
	return err
}

// runAll goes on with the next scenario when one fails.
func runAll(ctx context.Context, o *options, env *scenario.Env) error {
	var errs []error
	for n := range o.runs {
		for _, s := range scenario.All() {
			if o.scenarios != "" && !strings.Contains(o.scenarios, s.ID) {
				continue
			}
			fmt.Fprintf(env.Out, "== run %d of %d, (%s) %s\n", n+1, o.runs, s.ID, s.Title)
			if err := s.Run(ctx, env, env.Report.Begin(s.Scenario)); err != nil {
				fmt.Fprintf(env.Out, "(%s) failed: %v\n", s.ID, err)
				env.Report.Note(fmt.Sprintf("(%s) in run %d: %v", s.ID, n+1, err))
				errs = append(errs, fmt.Errorf("(%s): %w", s.ID, err))
			}
			if ctx.Err() != nil {
				return errors.Join(errs...)
			}
		}
	}
	return errors.Join(errs...)
}
