// Command rabbitnode starts a private RabbitMQ node, runs a command against it and ends the node.
//
//	rabbitnode [-plugins a,b] [--] command [argument…]
//
// The command finds the node's address in WARREN_TEST_AMQP_URL; tests that use package rabbittest share the node. The exit
// status is the command's, or 1 when the node could not be started.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func main() {
	plugins := flag.String("plugins", "rabbitmq_event_exchange", "plugins to enable, separated by commas")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: rabbitnode [-plugins a,b] [--] command [argument…]")
		fmt.Fprintln(flag.CommandLine.Output(), "The command finds the node's address in WARREN_TEST_AMQP_URL.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(run(rabbittest.Options{Plugins: split(*plugins)}, flag.Args()))
}

func run(options rabbittest.Options, command []string) int {
	// Caught, so that first the command ends and then the node.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := rabbittest.Run(ctx, options, command[0], command[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rabbitnode:", err)
		code = max(code, 1)
	}
	return code
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
