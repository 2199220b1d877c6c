package rabbittest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// Run starts a node, runs a command whose tests use it as their shared node, and ends the node. It answers the command's error,
// an *exec.ExitError when it failed. When the context ends, the command gets SIGTERM.
func Run(ctx context.Context, options Options, name string, args ...string) error {
	n, err := Start(ctx, options)
	if err != nil {
		return err
	}
	text, err := n.encode()
	if err != nil {
		return errors.Join(err, n.Close())
	}
	cmd := exec.CommandContext(ctx, name, args...)
	// Asked to end rather than killed, so that it can end what it has started.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	cmd.Env = append(os.Environ(), urlEnv+"="+n.URL(), ctlEnv+"="+text)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return errors.Join(cmd.Run(), n.Close())
}
