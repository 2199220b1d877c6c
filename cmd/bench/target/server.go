package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/proc"
	"github.com/warren-gateway/warren/cmd/bench/publish"
)

// Server is a server that runs.
type Server interface {
	// Name is what tables call it.
	Name() string
	// PIDs are the processes whose CPU and memory count as the server's.
	PIDs() []int
	// Stream answers how to read by a protocol of package load.
	Stream(kind string) load.Target
	// Publish answers how to publish.
	Publish() publish.Target
	// Stop ends the server and waits until it is gone.
	Stop()
}

// Counter is a server that counts its own writes to streams: the kernel has a count of write and writev for each process, see
// [proc.Writes], but none of send and sendmsg.
type Counter interface {
	// Writes answers how many writes there have been that took something.
	Writes(ctx context.Context) (int64, error)
}

// MissingError says that a peer is not installed.
type MissingError struct {
	What string // its name
	How  string // where it is to be had
}

func (e *MissingError) Error() string { return e.What + " is not installed (" + e.How + ")" }

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
	pollEvery    = time.Millisecond
	keepOutput   = 16 << 10
)

// daemon is a program that runs until it is told to end.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu     sync.Mutex // guards output
	output []byte     // the newest of what it said
}

// Write keeps what the program says.
func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.output = append(d.output, b...)
	if extra := len(d.output) - keepOutput; extra > 0 {
		d.output = append(d.output[:0], d.output[extra:]...)
	}
	return len(b), nil
}

func (d *daemon) said() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.output)
}

func spawn(ctx context.Context, name string, args ...string) (*daemon, error) {
	d := &daemon{cmd: proc.Command(ctx, name, args...), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d, d
	// Should the driver die, so does the server.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = d.cmd.Wait() // done tells
		close(d.done)
	}()
	return d, nil
}

// await polls until the condition holds.
func (d *daemon) await(ctx context.Context, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !cond() {
		select {
		case <-d.done:
			return fmt.Errorf("it ended before %s:\n%s", what, d.said())
		case <-ctx.Done():
			return fmt.Errorf("%w: no %s:\n%s", ctx.Err(), what, d.said())
		case <-tick.C:
		}
	}
	return nil
}

// awaitConnection waits until it accepts connections.
func (d *daemon) awaitConnection(ctx context.Context, addr string) error {
	var dialer net.Dialer
	return d.await(ctx, "connection", func() bool {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (d *daemon) stop() {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, syscall.ESRCH) {
		return
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-d.done:
	case <-timer.C:
		_ = d.cmd.Process.Kill()
		<-d.done
	}
}
