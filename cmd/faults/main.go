// Command faults proves the promise that nothing is lost silently: it does real faults to real processes and has an oracle
// judge what the gateway's clients got. Run without flags it prints the whole matrix.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/faults/client"
	"github.com/warren-gateway/warren/cmd/faults/matrix"
	"github.com/warren-gateway/warren/cmd/faults/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	seed     uint64
	cell     *regexp.Regexp
	runs     int
	short    bool
	list     bool
	parallel int
	soak     time.Duration
	rate     int
	recovery int
	pairs    int
}

func parse(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()%1_000_000), "seed of the first run; further runs count up from it")
	cell := flags.String("cell", "", "only cells whose name this regular expression matches")
	flags.IntVar(&o.runs, "runs", 1, "how often to run each cell, with different seeds")
	flags.BoolVar(&o.short, "short", false, "only the selection that \"go test\" runs")
	flags.BoolVar(&o.list, "list", false, "print the names of the cells and stop")
	flags.IntVar(&o.parallel, "parallel", 2, "how many cells to run at once")
	flags.DurationVar(&o.soak, "soak", 0, "instead of the matrix, a mixed load with random faults for this long")
	flags.IntVar(&o.rate, "rate", 250, "messages per second and source of the soak")
	flags.IntVar(&o.recovery, "recovery", 0, "instead of the matrix, how long this many subscriptions take to be back after a restart of the broker")
	flags.IntVar(&o.pairs, "pairs", 0, "instead of the matrix, this many random pairs of faults, which follow from the seed")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var err error
	o.cell, err = regexp.Compile(*cell)
	return o, err
}

var errRejected = errors.New("rejected")

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	cells := matrix.Cells()
	if o.pairs > 0 {
		cells = matrix.RandomPairs(o.seed, o.pairs)
	}
	cells = matrix.Select(cells, o.cell, o.short)
	web, err := filepath.Abs("web")
	if err != nil {
		return err
	}
	if err := client.CanScript(web); err != nil {
		cells = slices.DeleteFunc(cells, func(c matrix.Cell) bool { return c.NeedsScripts() })
		fmt.Fprintf(os.Stderr, "faults: leaving out clients in JavaScript: %v\n", err)
	}
	if o.list {
		for _, c := range cells {
			fmt.Fprintln(out, c.ID())
		}
		return nil
	}
	if len(cells) == 0 {
		return errors.New("no cell has such a name")
	}
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	binary, err := world.Build(ctx, dir)
	if err != nil {
		return err
	}
	if o.soak > 0 || o.recovery > 0 {
		return alone(ctx, o, binary, out)
	}
	nodes, end, err := startNodes(ctx, cells)
	if err != nil {
		return err
	}
	defer end()
	fmt.Fprintf(out, "seed %d\n", o.seed)
	begin := time.Now()
	table := matrix.NewTable(out, cells)
	matrix.Run(ctx, cells, matrix.Options{
		Binary: binary, Web: web, Nodes: nodes, Seed: o.seed, Runs: o.runs, Parallel: o.parallel, Done: table.Add,
	})
	table.Sum(time.Since(begin))
	if table.Rejected > 0 {
		return errRejected
	}
	return ctx.Err()
}

// alone runs what has a broker for itself: the soak, or a recovery.
func alone(ctx context.Context, o *options, binary string, out io.Writer) error {
	node, err := rabbittest.Start(ctx, nodeOptions)
	if err != nil {
		return err
	}
	defer node.Close() //nolint:errcheck // its watchdog removes the rest
	var ok bool
	if o.soak > 0 {
		ok, err = matrix.Soak(ctx, matrix.SoakOptions{
			Binary: binary, Node: node, Seed: o.seed, Duration: o.soak, Rate: o.rate, Out: out,
		})
	} else {
		ok, err = matrix.Recovery(ctx, matrix.RecoveryOptions{Binary: binary, Node: node, Subscriptions: o.recovery, Out: out})
	}
	if err == nil && !ok {
		err = errRejected
	}
	return err
}

// nodeOptions are those of every broker here.
var nodeOptions = rabbittest.Options{Plugins: []string{"rabbitmq_event_exchange"}}

// startNodes starts the brokers that the cells need.
func startNodes(ctx context.Context, cells []matrix.Cell) (nodes matrix.Nodes, end func(), err error) {
	end = func() {
		for _, n := range []*rabbittest.Node{nodes.Shared, nodes.Own} {
			if n != nil {
				_ = n.Close() // its watchdog removes the rest
			}
		}
	}
	for _, c := range cells {
		node := &nodes.Shared
		if c.Setup.Own {
			node = &nodes.Own
		}
		if *node != nil {
			continue
		}
		if *node, err = rabbittest.Start(ctx, nodeOptions); err != nil {
			end()
			return nodes, func() {}, err
		}
	}
	return nodes, end, nil
}
