package rabbittest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// Run starts a node, runs a command whose tests use it as their shared node, and ends the node. It answers the command's exit
// status; the error is of all else, as a node that does not start. When the context ends, the command gets SIGTERM.
func Run(ctx context.Context, options Options, name string, args ...string) (code int, err error) {
	n, err := Start(ctx, options)
	if err != nil {
		return 1, err
	}
	text, err := n.encode()
	if err != nil {
		return 1, errors.Join(err, n.Close())
	}
	cmd := exec.CommandContext(ctx, name, args...)
	// Asked to end rather than killed, so that it can end what it has started.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	cmd.Env = append(os.Environ(), urlEnv+"="+n.URL(), ctlEnv+"="+text)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok { // it has said why
		code, err = max(exit.ExitCode(), 1), nil
	}
	return code, errors.Join(err, n.Close())
}
