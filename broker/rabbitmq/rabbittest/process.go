package rabbittest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// process is a child that runs until it is told to stop. One goroutine waits for it and ends with it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and been waited for
	err  error         // how it ended; to be read after done
}

// spawn starts a child in a process group of its own, so that a Ctrl-C in the terminal reaches the test run and not the
// server under its feet. Output goes to a file: a pipe would need a goroutine, and stall the child when nobody reads.
// pidFile holds the child's id while it runs; the watchdog reads it.
func spawn(ctx context.Context, pidFile string, env []string, output *os.File, name string, args ...string) (*process, error) {
	// The child outlives the context that bounds its start.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, args...)
	cmd.Env = env
	cmd.Dir = filepath.Dir(pidFile)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	pidErr := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
	go p.wait(pidFile)
	if pidErr != nil {
		_ = p.kill()
		return nil, fmt.Errorf("starting %s: %w", name, pidErr)
	}
	return p, nil
}

func (p *process) wait(pidFile string) {
	p.err = p.cmd.Wait()
	// The id may belong to somebody else from now on.
	_ = os.Remove(pidFile)
	close(p.done)
}

// running tells whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("sending %v to process %d: %w", s, p.cmd.Process.Pid, err)
	}
	return nil
}

// kill ends the process with SIGKILL and waits for its end. A process that has ended already is fine.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	err := p.cmd.Process.Kill()
	<-p.done
	if err != nil && p.cmd.ProcessState == nil {
		return fmt.Errorf("killing process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// watchdogScript waits until its standard input closes, which happens when the process that started it ends, in whatever way,
// and then kills what the directory's pid files name and removes the directory. After an orderly end neither is left.
const watchdogScript = `trap '' INT TERM HUP
read -r _
for f in "$1"/*.pid; do
	[ -f "$f" ] && kill -9 "$(cat "$f")"
done 2>/dev/null
rm -rf "$1"`

// watchdog is the helper process that cleans up when this one cannot.
type watchdog struct {
	cmd  *exec.Cmd
	hold io.Closer // the write end of its standard input
}

func startWatchdog(ctx context.Context, dir string) (*watchdog, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", watchdogScript, "rabbittest-watchdog", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, hold: hold}, nil
}

// release lets the watchdog do its work and waits for it.
func (w *watchdog) release() error {
	_ = w.hold.Close()
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}
