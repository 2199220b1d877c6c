package suite

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is a gateway that a check started.
type Process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process is gone
	exited time.Time     // when; good after ended
}

// generous are bounds under which a check need not hold back.
var generous = map[string]float64{
	"request-rate-per-caller": 5000, "request-burst-per-caller": 5000, "create-rate-per-caller": 500, "create-burst-per-caller": 500, "create-rate": 500,
}

// Gateway starts a gateway with these bounds (flags without dashes, durations in seconds) and other flags, on the same
// broker, and returns the check as driven against it.
func (t *T) Gateway(bounds map[string]float64, args ...string) *T {
	broker := t.options.AMQPURL
	if broker == "" {
		broker = "memory://"
	}
	own, _ := t.GatewayOn(broker, bounds, args...)
	return own
}

// GatewayOn is Gateway on a broker of the check's choice; it returns the process, too.
func (t *T) GatewayOn(broker string, bounds map[string]float64, args ...string) (*T, *Process) {
	all := map[string]float64{}
	maps.Copy(all, generous)
	maps.Copy(all, bounds)
	flags := slices.Grow([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "", "--log-format", "json", "--broker", broker}, len(all)+len(args))
	for name, value := range all {
		flags = append(flags, flag(t.contract.Tables().UnitOf(name), name, value))
	}
	p, address := t.start(append(flags, args...))
	base, err := url.Parse(address)
	t.Must(err)
	o := t.options
	o.URL, o.Bounds = address, all
	w := newWorld(o, base, t.contract, t.board)
	w.names, w.tag, w.source = t.names, t.tag, t.source
	t.Cleanup(w.transport.CloseIdleConnections)
	own := &T{w, t.attempt}
	own.Eventually(patience, "the gateway is ready", func() bool { return own.Get("/readyz").Status == http.StatusOK })
	return own, p
}

func flag(unit, name string, value float64) string {
	if unit == "seconds" {
		return fmt.Sprintf("--%s=%s", name, time.Duration(value*float64(time.Second)))
	}
	return fmt.Sprintf("--%s=%v", name, int64(value))
}

// start starts the process and waits until it listens.
func (t *T) start(args []string) (*Process, string) {
	cmd := exec.CommandContext(context.WithoutCancel(t.ctx), t.options.Binary, args...)
	logs, err := cmd.StderrPipe()
	t.Must(err)
	t.Must(cmd.Start())
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	address := make(chan string, 1)
	go func() { // ends with the process
		defer close(p.ended)
		said := readLog(logs, address)
		_ = cmd.Wait() // how it ended is no concern of the suite
		p.exited = time.Now()
		if said != "" {
			address <- "!" + said
		}
	}()
	t.Cleanup(func() { p.kill() })
	select {
	case a := <-address:
		if why, failed := strings.CutPrefix(a, "!"); failed {
			t.Fatalf("the gateway ended: %s", why)
		}
		return p, a
	case <-t.ctx.Done():
		t.Fatalf("the gateway did not listen in time")
	}
	return nil, ""
}

// readLog reads a log to its end and tells the address when it comes; it returns the last line if none came.
func readLog(logs io.Reader, address chan<- string) (last string) {
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	told := false
	for lines.Scan() {
		var line struct{ Msg, URL string }
		if !told && json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			address <- line.URL
			told = true
		}
		last = lines.Text()
	}
	if told {
		return ""
	}
	return "log: " + last
}

// stop asks the process to stop.
func (p *Process) stop() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// kill ends the process: by asking, and after a while without.
func (p *Process) kill() {
	_ = p.stop() // gone already, perhaps
	select {
	case <-p.ended:
	case <-time.After(3 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}
