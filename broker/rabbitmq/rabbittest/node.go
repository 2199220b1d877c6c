package rabbittest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// bootTimeout bounds one boot. Five seconds are usual, twelve on a busy machine with many plugins.
	bootTimeout = 90 * time.Second
	// stopTimeout bounds an orderly stop (usually three seconds) before SIGKILL.
	stopTimeout = 30 * time.Second
	// pollInterval is how often a starting node's log is looked at.
	pollInterval = 50 * time.Millisecond
	// bootAttempts is how often Start tries: each time with new ports, because a probed port may be taken meanwhile.
	bootAttempts = 3
	// readyLine is what the server logs once listeners and plugins are up.
	readyLine = "Server startup complete"
)

// errNotRunning is answered by what needs a running node.
var errNotRunning = errors.New("the RabbitMQ node is not running")

// Options say what a node should be like. The zero value is a plain node.
type Options struct {
	// Plugins are enabled before the start, e.g. "rabbitmq_management" or "rabbitmq_event_exchange".
	Plugins []string
	// Config holds further lines of rabbitmq.conf, e.g. "vm_memory_high_watermark.absolute = 100MB".
	Config string
	// Schedulers is the number of Erlang scheduler threads; default 2. More only costs CPU on small machines.
	Schedulers int
}

// Node is a private RabbitMQ server. Its methods may be called from several goroutines.
type Node struct {
	control

	dir      string
	ports    ports
	options  Options
	watchdog *watchdog
	epmd     *process
	closing  sync.Once
	closeErr error

	mu     sync.Mutex // guards server and serialises starts and stops
	server *process   // the latest; it may have ended
}

// Start starts a node and waits until it serves. The context bounds the start only; the node runs until Close.
// It answers ErrNoServer (wrapped) when none is installed.
func Start(ctx context.Context, options Options) (*Node, error) {
	in, err := findInstall()
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		n, err := start(ctx, in, options)
		if err == nil {
			return n, nil
		}
		if attempt == bootAttempts || ctx.Err() != nil || !strings.Contains(err.Error(), "eaddrinuse") {
			return nil, err
		}
	}
}

func start(ctx context.Context, in install, options Options) (*Node, error) {
	dir, err := os.MkdirTemp("", "rabbittest-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for RabbitMQ: %w", err)
	}
	n, err := newNode(in, dir, options)
	if err == nil {
		n.watchdog, err = startWatchdog(ctx, dir)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := n.boot(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// boot starts epmd, unless it runs, and the server.
func (n *Node) boot(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.epmd == nil {
		epmd, err := n.spawn(ctx, "epmd", n.Install.Epmd, "-address", "127.0.0.1", "-port", fmt.Sprint(n.EpmdPort))
		if err != nil {
			return err
		}
		n.epmd = epmd
	}
	return n.startServer(ctx)
}

// spawn starts one of the node's processes with output in a file of its directory.
func (n *Node) spawn(ctx context.Context, what, name string, args ...string) (*process, error) {
	output, err := os.OpenFile(n.path(what+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", what, err)
	}
	defer output.Close() // the child has its own
	return spawn(ctx, n.path(what+".pid"), n.serverEnv(), output, name, args...)
}

// startServer starts the server and waits until it is ready. The caller holds mu.
func (n *Node) startServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	logged := len(n.logFile())
	server, err := n.spawn(ctx, "server", n.Install.Server)
	if err != nil {
		return err
	}
	n.server = server
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-server.done:
			return fmt.Errorf("RabbitMQ ended while it started: %w\n%s", server.err, n.tail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("RabbitMQ did not start: %w\n%s", ctx.Err(), n.tail()), server.kill())
		case <-tick.C:
			if log := n.logFile(); len(log) >= logged && bytes.Contains(log[logged:], []byte(readyLine)) {
				return nil
			}
		}
	}
}

// URL answers the AMQP address of the default virtual host, as user guest.
func (n *Node) URL() string { return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", n.ports.amqp) }

// Addr answers host and port of the AMQP listener, for a proxy in front of the node.
func (n *Node) Addr() string { return fmt.Sprintf("127.0.0.1:%d", n.ports.amqp) }

// ManagementURL answers where the management API is, if Options.Plugins has rabbitmq_management.
func (n *Node) ManagementURL() string {
	return fmt.Sprintf("http://guest:guest@127.0.0.1:%d", n.ports.management)
}

// PID answers the process id of the server, or 0 when it does not run.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up() {
		return 0
	}
	return n.server.cmd.Process.Pid
}

// Running tells whether the server process runs; a paused one does.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up()
}

// up is Running for a caller that holds mu.
func (n *Node) up() bool { return n.server != nil && n.server.running() }

// Ctl runs rabbitmqctl against the node and answers its output. It takes about 0.3 s; pass "-q" to leave out headings.
func (n *Node) Ctl(ctx context.Context, args ...string) (string, error) { return n.ctl(ctx, args...) }

// Eval has the node evaluate an Erlang expression (no final dot) and answers its value as Erlang prints it. It takes some 10 ms.
func (n *Node) Eval(ctx context.Context, expr string) (string, error) { return n.eval(ctx, expr) }

// AddVHost creates a virtual host in which guest may do everything, and answers its AMQP address.
// The name must consist of characters that need no escape in an address.
func (n *Node) AddVHost(ctx context.Context, name string) (string, error) {
	if err := n.addVHost(ctx, name); err != nil {
		return "", err
	}
	return n.URL() + name, nil
}

// DeleteVHost removes a virtual host with all that is in it; the server closes its connections.
func (n *Node) DeleteVHost(ctx context.Context, name string) error { return n.deleteVHost(ctx, name) }

// Stop stops the server in order, as an operator would, and waits until it is gone. Data and ports stay its own.
// A server that does not run is fine.
func (n *Node) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up() {
		return nil
	}
	// A paused server would not notice.
	if err := errors.Join(n.server.signal(syscall.SIGCONT), n.server.signal(syscall.SIGTERM)); err != nil && n.up() {
		return err
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-n.server.done:
		return nil
	case <-timeout.C:
		return errors.Join(fmt.Errorf("RabbitMQ did not stop within %v; killed it", stopTimeout), n.server.kill())
	}
}

// Kill ends the server with SIGKILL and waits until it is gone. A server that does not run is fine.
func (n *Node) Kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up() {
		return nil
	}
	return n.server.kill()
}

// Restart stops the server in order, unless it is stopped or killed already, starts it again on the same data and ports and
// waits until it serves.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Stop(); err != nil {
		return err
	}
	return n.boot(ctx)
}

// Pause stops the server process where it is (SIGSTOP): connections stay open, nothing answers. Continue wakes it.
func (n *Node) Pause() error { return n.send(syscall.SIGSTOP) }

// Continue wakes a paused server.
func (n *Node) Continue() error { return n.send(syscall.SIGCONT) }

func (n *Node) send(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up() {
		return errNotRunning
	}
	return n.server.signal(s)
}

// Logs answers what the server has logged and printed so far.
func (n *Node) Logs() string {
	printed, _ := os.ReadFile(n.path("server.out"))
	return string(n.logFile()) + string(printed)
}

// logFile answers the server's log, or nothing while there is none.
func (n *Node) logFile() []byte {
	log, _ := os.ReadFile(n.path("rabbit.log"))
	return log
}

// tail answers the end of the logs, for error messages.
func (n *Node) tail() string {
	const most = 4000
	logs := n.Logs()
	return logs[max(0, len(logs)-most):]
}

func (n *Node) path(name string) string { return filepath.Join(n.dir, name) }

// Close kills the server, since its data goes too, and removes all that the node left. It may be called more than once.
func (n *Node) Close() error {
	n.closing.Do(func() {
		err := n.Kill()
		if n.epmd != nil {
			err = errors.Join(err, n.epmd.kill())
		}
		n.closeErr = errors.Join(err, n.watchdog.release())
	})
	return n.closeErr
}
