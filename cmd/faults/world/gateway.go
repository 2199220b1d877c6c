package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// BinaryEnv names the variable with the path of the binary to test. Without it, Build builds one.
const BinaryEnv = "WARREN_TEST_BINARY"

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	pollInterval = 50 * time.Millisecond
	keepLogs     = 128 << 10
)

// Build builds the gateway from the tree into a directory, unless the environment names a binary.
func Build(ctx context.Context, dir string) (string, error) {
	if name := os.Getenv(BinaryEnv); name != "" {
		return name, nil
	}
	name := filepath.Join(dir, "warren")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", name, "github.com/warren-gateway/warren/cmd/warren")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return name, nil
}

// Gateway is one address at which a gateway serves, through any number of processes, one at a time.
type Gateway struct {
	binary      string
	args, env   []string
	host, admin string
	logs        tail

	mu      sync.Mutex // guards process
	process *process
}

// process is one `warren serve`.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; read after done
}

// NewGateway chooses the ports of a gateway; Start starts it.
func NewGateway(binary string, args ...string) (*Gateway, error) {
	port, err := rabbittest.FreePort()
	if err != nil {
		return nil, err
	}
	admin, err := rabbittest.FreePort()
	if err != nil {
		return nil, err
	}
	return &Gateway{
		binary: binary, args: args,
		host: "127.0.0.1:" + strconv.Itoa(port), admin: "127.0.0.1:" + strconv.Itoa(admin),
	}, nil
}

// SetEnv adds NAME=VALUE to the environment of processes that are started from now on.
func (g *Gateway) SetEnv(env ...string) { g.env = env }

// Host returns host and port.
func (g *Gateway) Host() string { return g.host }

// URL returns where it serves.
func (g *Gateway) URL() string { return "http://" + g.host }

// Start starts a process and waits until it is ready.
func (g *Gateway) Start(ctx context.Context) error {
	if err := g.Launch(); err != nil {
		return err
	}
	return g.AwaitReady(ctx)
}

// Launch starts a process and waits for nothing.
func (g *Gateway) Launch() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	args := append([]string{"serve", "--listen", g.host, "--admin-listen", g.admin}, g.args...)
	cmd := exec.Command(g.binary, args...) //nolint:noctx // its life is what faults are about; Stop and Kill end it
	cmd.Env = append(os.Environ(), g.env...)
	cmd.Stderr = &g.logs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the gateway: %w", err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	g.process = p
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return nil
}

func (g *Gateway) current() *process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.process
}

// AwaitReady waits until the gateway is ready.
func (g *Gateway) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p := g.current()
	err := Poll(ctx, pollInterval, func() bool {
		select {
		case <-p.done:
			return true
		default:
			return g.Ready(ctx)
		}
	})
	select {
	case <-p.done:
		return fmt.Errorf("the gateway ended: %w\n%s", errors.Join(p.err, io.ErrUnexpectedEOF), g.Logs())
	default:
	}
	if err != nil {
		return fmt.Errorf("the gateway is not ready: %w\n%s", err, g.Logs())
	}
	return nil
}

// Ready asks whether it is ready.
func (g *Gateway) Ready(ctx context.Context) bool {
	_, err := g.get(ctx, "/readyz")
	return err == nil
}

// Metric returns the value of a metric, with its labels as the exposition has them; 0 when there is none.
func (g *Gateway) Metric(ctx context.Context, name string) float64 {
	text, err := g.get(ctx, "/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return 0
			}
			return number
		}
	}
	return 0
}

// get asks the admin listener.
func (g *Gateway) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, resp.Status)
	}
	return text, err
}

// PID returns the process id.
func (g *Gateway) PID() int { return g.current().cmd.Process.Pid }

// Pause stops the process where it is; Continue lets it go on.
func (g *Gateway) Pause() error { return g.current().cmd.Process.Signal(syscall.SIGSTOP) }

// Continue ends Pause.
func (g *Gateway) Continue() error { return g.current().cmd.Process.Signal(syscall.SIGCONT) }

// LimitFiles bounds how many files the running process may have open from now on, and returns the bound there was.
func (g *Gateway) LimitFiles(most uint64) (before uint64, err error) {
	var limit unix.Rlimit
	if err := unix.Prlimit(g.PID(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return 0, err
	}
	before = limit.Cur
	limit.Cur = most
	return before, unix.Prlimit(g.PID(), unix.RLIMIT_NOFILE, &limit, nil)
}

// OpenFiles returns how many files the process has open.
func (g *Gateway) OpenFiles() (uint64, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.PID()))
	return uint64(len(entries)), err
}

// LimitMemory lets the process have no more address space than it has now.
func (g *Gateway) LimitMemory() error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.PID()))
	if err != nil {
		return err
	}
	var pages uint64
	if _, err := fmt.Sscan(string(data), &pages); err != nil {
		return err
	}
	most := pages * uint64(os.Getpagesize())
	return unix.Prlimit(g.PID(), unix.RLIMIT_AS, &unix.Rlimit{Cur: most, Max: most}, nil)
}

// RSS returns the resident memory in bytes, 0 when there is no process.
func (g *Gateway) RSS() int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.PID()))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// Stop ends the process with SIGTERM and answers how long that took and what is wrong with its end.
func (g *Gateway) Stop() (took time.Duration, err error) {
	p := g.current()
	if p == nil {
		return 0, nil
	}
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	_ = g.Continue() // a stopped process would not notice
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.done:
		return time.Since(begin), p.err
	case <-timeout.C:
		g.Kill()
		return stopTimeout, fmt.Errorf("the gateway did not end within %v of SIGTERM", stopTimeout)
	}
}

// Kill ends the process with SIGKILL.
func (g *Gateway) Kill() {
	if p := g.current(); p != nil {
		_ = p.cmd.Process.Kill() // It may have ended.
		<-p.done
	}
}

// Ended reports whether no process runs.
func (g *Gateway) Ended() bool {
	p := g.current()
	if p == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Logs returns the newest part of what the gateway logged.
func (g *Gateway) Logs() string { return g.logs.String() }

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - keepLogs; extra > keepLogs {
		t.buf = bytes.Clone(t.buf[extra:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// Poll asks until the condition holds or the context ends.
func Poll(ctx context.Context, every time.Duration, condition func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Wait waits, and reports false when the context ends before.
func Wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
