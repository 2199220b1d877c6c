package role

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/proc"
)

// Flag is the command's flag that names the role of a process.
const Flag = "role"

// endTimeout bounds an orderly end of a role before SIGKILL.
const endTimeout = 5 * time.Second

// Process is a running role. Its calls must not overlap.
type Process struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	out   io.Closer
}

// Start re-executes this program as a role.
func Start(ctx context.Context, name string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{name: name, cmd: proc.Command(ctx, self, "-"+Flag, name)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = out
	p.lines = bufio.NewScanner(out)
	p.lines.Buffer(nil, maxLine)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting role %s: %w", name, err)
	}
	return p, nil
}

// PID answers the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Call has the role do an operation and decodes its answer into value, unless that is nil. When the context ends first, the
// role is of no further use and is killed.
func (p *Process) Call(ctx context.Context, op string, args, value any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	line, err := json.Marshal(request{Op: op, Args: raw})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s %s: %w", p.name, op, err)
	}
	if !p.lines.Scan() {
		return fmt.Errorf("%s %s: %w", p.name, op, errors.Join(io.ErrUnexpectedEOF, p.lines.Err(), ctx.Err()))
	}
	var r reply
	if err := json.Unmarshal(p.lines.Bytes(), &r); err != nil {
		return fmt.Errorf("%s %s: %w", p.name, op, err)
	}
	if r.Error != "" {
		return fmt.Errorf("%s %s: %s", p.name, op, r.Error)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(r.Value, value)
}

// Stop ends the role and waits until it is gone.
func (p *Process) Stop() {
	_ = p.in.Close()
	killer := time.AfterFunc(endTimeout, func() { _ = p.cmd.Process.Kill() })
	defer killer.Stop()
	// What it still says must be read, or it would wait.
	for p.lines.Scan() {
		continue
	}
	_ = p.out.Close()
	_ = p.cmd.Wait() // it was asked to end
}
