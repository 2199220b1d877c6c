// Command warren is the gateway through which browsers, scripts and services
// listen to RabbitMQ: `warren serve` runs it, `warren listen` is a terminal
// client, `warren token` signs tokens for trying and tests.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/pflag"
)

// Set by the linker (see the Makefile); thisBuild knows more.
var (
	version = "development"
	commit  = ""
	date    = ""
)

func main() {
	err := run(untilSignal(), process{args: os.Args[1:], env: os.Environ(), stdout: os.Stdout, stderr: os.Stderr})
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		fmt.Fprintln(os.Stderr, "warren:", exit.err)
		os.Exit(exit.code)
	}
	fmt.Fprintln(os.Stderr, "warren:", err)
	os.Exit(1)
}

// untilSignal returns a context that the first signal ends. By then a second one ends the process at once, however soon it comes.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() { // ends with the process
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx
}

// process is what a command sees of the world, so that a test can be that world.
type process struct {
	args           []string
	env            []string
	stdout, stderr io.Writer
}

// exitError is an error with an exit status of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageError is an error of whoever typed the command line; exit status 2.
func usageError(format string, args ...any) error {
	return &exitError{code: 2, err: fmt.Errorf(format, args...)}
}

// command is one of warren's subcommands.
type command struct {
	name  string
	short string
	run   func(ctx context.Context, p process) error
}

func commands() []command {
	return []command{
		{"serve", "run the gateway", serve},
		{"listen", "print the messages of exchanges, one frame per line", listen},
		{"token", "sign a token for trying and tests", token},
		{"version", "say which build this is", printVersion},
	}
}

// run is the whole program, less the exit status.
func run(ctx context.Context, p process) error {
	if len(p.args) == 0 {
		printUsage(p.stderr)
		return usageError("no command given")
	}
	name := p.args[0]
	p.args = p.args[1:]
	switch name {
	case "help", "-h", "--help":
		if len(p.args) == 0 {
			printUsage(p.stdout)
			return nil
		}
		name, p.args = p.args[0], []string{"--help"}
	case "--version":
		name = "version"
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return usageError("unknown command %q; there are serve, listen, token, version and help", name)
	}
	return all[i].run(ctx, p)
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, `warren lets browsers, scripts and services listen to RabbitMQ exchanges over
Server-Sent Events and WebSocket: read-only, bounded, without silent loss.

Usage: warren COMMAND [FLAGS]

`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s  %s\n", c.name, c.short)
	}
	fmt.Fprint(w, `
Try it without RabbitMQ, with an exchange that something happens on:

  warren serve --demo
  curl -N 'http://127.0.0.1:8080/v1/sse?exchange=builds'
  warren listen http://127.0.0.1:8080 'builds=linux.#' deploys

And with yours:

  warren serve --broker amqp://user:password@rabbit.example.org:5672/vhost

warren COMMAND --help says more.
`)
}
