// Package warrentest runs the real binary for tests: built once, started on free
// ports, ended by its process id. What a test sees of it is what a user sees.
package warrentest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BinaryEnv names the variable with the path of a binary to test instead of one
// that is built from the tree.
const BinaryEnv = "WARREN_TEST_BINARY"

// Bounds of waiting for the process.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// Gateway is a running `warren serve`.
type Gateway struct {
	// URL is where it serves, Admin where its admin listener does.
	URL, Admin string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // of Wait; read after done

	mu   sync.Mutex // guards logs
	logs []byte     // the newest part of standard error
}

// keepLogs bounds what is kept of standard error.
const keepLogs = 256 << 10

// build builds the binary once per test process.
var build = sync.OnceValues(func() (string, error) {
	if name := os.Getenv(BinaryEnv); name != "" {
		return name, nil
	}
	dir, err := os.MkdirTemp("", "warrentest")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "warren")
	cmd := exec.Command("go", "build", "-o", name, "github.com/warren-gateway/warren/cmd/warren")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return name, nil
})

// Binary returns the path of the binary under test.
func Binary(t testing.TB) string {
	t.Helper()
	name, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Start runs `warren serve` with the arguments on free ports of loopback, waits
// until it is ready, and stops it at the end of the test.
func Start(t testing.TB, args ...string) *Gateway {
	t.Helper()
	g := StartUnready(t, args...)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if !Eventually(ctx, func() bool { return g.Ready(ctx) }) {
		t.Fatalf("the gateway is not ready after %v\n%s", startTimeout, g.Logs())
	}
	return g
}

// StartUnready is Start for a gateway whose broker need not be there: it waits
// until the gateway listens.
func StartUnready(t testing.TB, args ...string) *Gateway {
	t.Helper()
	all := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"}, args...)
	g := &Gateway{done: make(chan struct{})}
	g.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), Binary(t), all...)
	g.cmd.Stdout = io.Discard
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil && !t.Failed() {
			t.Errorf("%v\n%s", err, g.Logs())
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.Logs())
		}
	})
	up := make(chan struct{})
	go func() {
		g.read(stderr, up)
		g.err = g.cmd.Wait()
		close(g.done)
	}()
	select {
	case <-up:
	case <-g.done:
		t.Fatalf("the gateway ended at once: %v\n%s", g.err, g.Logs())
	case <-time.After(startTimeout):
		t.Fatalf("the gateway does not listen after %v\n%s", startTimeout, g.Logs())
	}
	return g
}

// read keeps the log and learns from it where the gateway listens.
func (g *Gateway) read(stderr io.Reader, up chan<- struct{}) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		g.mu.Lock()
		g.logs = append(append(g.logs, lines.Bytes()...), '\n')
		if extra := len(g.logs) - keepLogs; extra > 0 {
			g.logs = append(g.logs[:0], g.logs[extra:]...)
		}
		g.mu.Unlock()
		var line struct{ Msg, URL, Admin string }
		if g.URL == "" && json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			g.URL, g.Admin = line.URL, line.Admin
			close(up)
		}
	}
}

// Ready asks /readyz.
func (g *Gateway) Ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.Admin+"/readyz", nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// PID returns the process id.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Signal sends a signal to the process.
func (g *Gateway) Signal(sig syscall.Signal) error { return g.cmd.Process.Signal(sig) }

// Done returns a channel that is closed when the process has ended.
func (g *Gateway) Done() <-chan struct{} { return g.done }

// Logs returns the newest part of what it logged.
func (g *Gateway) Logs() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(g.logs)
}

// Stop ends the process with SIGTERM and answers what is wrong with its end.
// It is fine to call it again, or after Kill.
func (g *Gateway) Stop() error {
	select {
	case <-g.done:
		return nil
	default:
	}
	if err := g.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-g.done:
	case <-time.After(stopTimeout):
		_ = g.cmd.Process.Kill()
		<-g.done
		return fmt.Errorf("the gateway did not stop within %v", stopTimeout)
	}
	if g.err != nil {
		return fmt.Errorf("the gateway ended with %w", g.err)
	}
	return nil
}

// Kill ends the process with SIGKILL.
func (g *Gateway) Kill() {
	_ = g.cmd.Process.Kill()
	<-g.done
}

// RSS returns the resident memory of the process in bytes (Linux).
func (g *Gateway) RSS() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.PID()))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}

// Eventually polls the condition until it holds or the context is done.
func Eventually(ctx context.Context, cond func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return cond()
		case <-tick.C:
		}
	}
	return true
}
