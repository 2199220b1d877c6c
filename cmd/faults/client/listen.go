package client

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// listen runs `warren listen`, which reconnects by itself. When it gives up, it is started again behind what it printed.
func (c *Client) listen(ctx context.Context) {
	for ctx.Err() == nil {
		_ = c.process(ctx) // how it ended says its record
		c.pause(ctx)
	}
}

func (c *Client) process(ctx context.Context) error {
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
	cmd := exec.CommandContext(ctx, c.opts.Binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.lines(out)
	return cmd.Wait()
}

// lines reads the frames. A ready is the sign of a new connection, with the position of the newest event printed.
func (c *Client) lines(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxFrame)
	for lines.Scan() {
		c.pass()
		if bytes.HasPrefix(lines.Bytes(), []byte(`{"type":"ready"`)) {
			c.record.Connect(c.position)
		}
		c.take(lines.Bytes())
	}
}
