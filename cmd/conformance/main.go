// Command conformance holds a running gateway to docs/protocol.md, from outside:
//
//	conformance --url http://127.0.0.1:8080 --memory
//	conformance --url https://events.example.org --amqp amqp://user:password@host/vhost
//
// It prints a table: requirement, passed or failed, what was seen; and exits with 1 when any failed, with 2 when it could not
// run. With --amqp it declares, publishes to and deletes exchanges named conformance.…; with --memory they stay until the
// gateway ends. It keeps below the gateway's rates per caller, save at the end, where it tries them: do not run it where
// others share its address and may not be refused for some seconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/warren-gateway/warren/cmd/conformance/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	exitKept   = 0
	exitBroken = 1
	exitError  = 2
)

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, settings, err := parse(args, stderr)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitKept
	case err != nil:
		fmt.Fprintln(stderr, "conformance:", err)
		return exitError
	}
	ctx, cancel := context.WithTimeout(ctx, settings.timeout)
	defer cancel()
	began := time.Now()
	rows, err := suite.Run(ctx, o)
	if err != nil {
		fmt.Fprintln(stderr, "conformance:", err)
		return exitError
	}
	return report(stdout, rows, settings.width, time.Since(began))
}

// settings is what concerns the command and not the suite.
type settings struct {
	timeout time.Duration
	width   int
}

func parse(args []string, stderr io.Writer) (suite.Options, settings, error) {
	o := suite.Options{Bounds: map[string]float64{}}
	var s settings
	var memory, quiet bool
	var set []string
	flags := pflag.NewFlagSet("conformance", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(stderr)
	flags.StringVar(&o.URL, "url", "", "the gateway, such as http://127.0.0.1:8080")
	flags.BoolVar(&memory, "memory", false, "it was started with --broker memory://: publish through it")
	flags.StringVar(&o.AMQPURL, "amqp", "", "the RabbitMQ server behind it, to publish to")
	flags.StringVar(&o.Token, "token", "", "a token that grants all of the exchanges conformance.*, where the gateway asks for one")
	flags.StringVar(&o.Binary, "binary", "", "a warren executable, to start gateways in other configurations (tokens, TLS, drain, small bounds)")
	flags.StringArrayVar(&set, "set", nil, "FLAG=VALUE of a bound that is not at its default, durations in seconds; repeat for more")
	flags.StringSliceVar(&o.Only, "only", nil, "requirements to try, such as P-47,P-48; all if left out")
	flags.IntVar(&o.Parallel, "parallel", 0, "checks that run at a time (default 12)")
	flags.DurationVar(&s.timeout, "timeout", 2*time.Minute, "ends the run")
	flags.IntVar(&s.width, "width", 110, "characters of a requirement that are printed")
	flags.BoolVar(&quiet, "quiet", false, "no progress on standard error")
	if err := flags.Parse(args); err != nil {
		return o, s, err
	}
	if !quiet {
		o.Progress = stderr
	}
	if o.URL == "" || memory == (o.AMQPURL != "") {
		return o, s, errors.New("give --url, and one of --memory and --amqp")
	}
	for _, one := range set {
		name, value, _ := strings.Cut(one, "=")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return o, s, fmt.Errorf("--set %s: %w", one, err)
		}
		o.Bounds[strings.TrimLeft(name, "-")] = v
	}
	return o, s, nil
}

// report prints the table.
func report(out io.Writer, rows []suite.Row, width int, took time.Duration) int {
	count := map[string]int{}
	for _, r := range rows {
		count[r.Status()]++
		fmt.Fprintf(out, "%-6s %-8s  %s\n%17s%s\n", r.ID, r.Status(), cut(r.Text, width), "→ ", cut(r.Seen, width))
	}
	fmt.Fprintf(out, "\n%d requirements: %d passed, %d failed, %d left out, in %.1f s\n",
		len(rows), count["passed"], count["failed"], count["left out"], took.Seconds())
	if count["failed"] > 0 {
		return exitBroken
	}
	return exitKept
}

// cut shortens a text to so many characters.
func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}
