package client

import (
	"bufio"
	"bytes"
	"context"
	_ "embed" // for the scripts
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/warren-gateway/warren/cmd/faults/oracle"
)

// The scripts of clients in JavaScript, for node --eval. Their arguments are the directory web, the gateway, a position and exchanges.
var (
	//go:embed scripts/warren.mjs
	warrenScript string
	//go:embed scripts/eventsource.mjs
	eventSourceScript string
)

// CanScript answers why there are no clients in JavaScript, nil if there are. They need Node, Chromium and what "make deps" installs in
// the directory web.
func CanScript(web string) error {
	if _, err := exec.LookPath("node"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(web, "node_modules", "playwright-core")); err != nil {
		return err
	}
	for _, name := range []string{os.Getenv("WARREN_TEST_CHROMIUM"), "/usr/bin/chromium"} {
		if name != "" {
			if _, err := exec.LookPath(name); err == nil {
				return nil
			}
		}
	}
	return errors.New("there is no Chromium; WARREN_TEST_CHROMIUM may name one")
}

// outside runs a client that is a process of its own and reconnects by itself. When it gives up, it is started again behind
// what it printed.
func (c *Client) outside(ctx context.Context) {
	for ctx.Err() == nil {
		_ = c.process(ctx) // how it ended says its record
		c.pause(ctx)
	}
}

// command returns the program and its arguments.
func (c *Client) command() (name string, args []string) {
	switch c.opts.Kind {
	case JS:
		args = []string{"--input-type=module", "--eval", warrenScript, "--", c.opts.Web, c.opts.URL, c.position}
	case EventSource:
		args = []string{"--input-type=module", "--eval", eventSourceScript, "--", c.opts.Web, c.opts.URL, ""}
	default:
		return c.opts.Binary, c.listenArgs()
	}
	for _, s := range c.opts.Sources {
		args = append(args, s.Exchange())
	}
	return "node", args
}

// listenArgs are the arguments of `warren listen`.
func (c *Client) listenArgs() []string {
	transport := "ws"
	if c.opts.Kind == ListenSSE {
		transport = "sse"
	}
	args := []string{"listen", c.opts.URL, "--transport", transport, "--dead-after", c.opts.DeadAfter.String()}
	for _, s := range c.opts.Sources {
		args = append(args, s.Exchange()+"="+c.opts.RoutingKey)
	}
	if c.position != "" {
		args = append(args, "--after", c.position)
	}
	return args
}

func (c *Client) process(ctx context.Context) error {
	name, args := c.command()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	stderr := &tail{}
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if c.opts.Kind == EventSource {
		c.position = "" // a new page knows nothing
	}
	c.lines(out)
	err = cmd.Wait()
	if ctx.Err() == nil && (c.opts.Kind == JS || c.opts.Kind == EventSource) {
		c.record.Violate("the client ended: %v\n%s", err, stderr)
	}
	return err
}

// lines reads the frames. A ready is the sign of a new connection, with the position of the newest event printed.
func (c *Client) lines(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxFrame)
	for lines.Scan() {
		c.pass()
		switch {
		case bytes.HasPrefix(lines.Bytes(), []byte(`{"type":"ready"`)):
			if c.opts.Kind == JS && c.overlaps(lines.Bytes()) {
				continue
			}
			c.record.Connect(c.position)
		case bytes.HasPrefix(lines.Bytes(), []byte(`{"type":"closed"`)):
			c.record.Violate("the EventSource has closed for good")
		}
		c.take(lines.Bytes())
	}
}

// overlaps reports whether a ready is that of a stream which warren.js has opened beside the one before, to move to the other
// transport: it begins somewhere before the newest event printed, and the client leaves out what has come already.
func (c *Client) overlaps(line []byte) bool {
	f, err := oracle.Parse(line)
	if err != nil || !f.Resumed {
		return false
	}
	begin, err := oracle.ParsePosition(f.ID)
	newest, err2 := oracle.ParsePosition(c.position)
	return err == nil && err2 == nil && begin.Stream == newest.Stream && begin.Offset <= newest.Offset
}

// tail keeps the end of a process's messages.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 2000
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-most):]
	return len(p), nil
}

func (t *tail) String() string { return string(t.buf) }
