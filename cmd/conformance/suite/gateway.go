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
	"syscall"
	"time"

	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

// Process is a gateway that was started.
type Process struct {
	URL    string // where it listens
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process is gone
	exited time.Time     // when; good after ended
}

// generous are rates under which a check need not hold back.
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
	p, address := t.start(slices.Concat(ServeArgs(t.contract, broker, all), args))
	base, err := url.Parse(address)
	t.Must(err)
	o := t.options
	o.URL, o.Bounds, o.Token = address, all, ""
	w := newWorld(o, base, t.contract, t.board)
	w.names, w.tag, w.source = t.names, t.tag, t.source
	t.Cleanup(w.transport.CloseIdleConnections)
	own := &T{w, t.attempt}
	own.Eventually(own.patience, "the gateway is ready", func() bool { return own.Get("/readyz").Status == http.StatusOK })
	return own, p
}

// ServeArgs are the arguments of a gateway on a free port, with these bounds.
func ServeArgs(spec *contract.Contract, broker string, bounds map[string]float64) []string {
	args := slices.Grow([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "", "--log-format", "json", "--broker", broker}, len(bounds))
	for name, value := range bounds {
		args = append(args, flag(spec.Tables().UnitOf(name), name, value))
	}
	return args
}

func flag(unit, name string, value float64) string {
	if unit == "seconds" {
		return fmt.Sprintf("--%s=%s", name, time.Duration(value*float64(time.Second)))
	}
	return fmt.Sprintf("--%s=%v", name, int64(value))
}

// start starts a gateway that goes with the check, and a proxy before it if the run has one; it returns where to reach it.
func (t *T) start(args []string) (*Process, string) {
	var p *Process
	gateway := func(more ...string) (err error) {
		if p, err = Start(t.ctx, t.options.Binary, slices.Concat(args, more)...); err == nil {
			t.Cleanup(p.Stop)
		}
		return err
	}
	if t.options.Front == nil {
		t.Must(gateway())
		return p, p.URL
	}
	address, stop, err := t.options.Front(t.ctx, gateway)
	t.Must(err)
	t.Cleanup(stop)
	return p, address
}

// Start starts a warren executable with these arguments, which make it log in JSON, and waits until it says where it listens. The
// process outlives ctx; Stop ends it.
func Start(ctx context.Context, binary string, args ...string) (*Process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, args...)
	logs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	address := make(chan string, 1)
	failed := make(chan string, 1)
	go func() { // ends with the process
		defer close(p.ended)
		last := readLog(logs, address)
		_ = cmd.Wait() // how it ended is no concern of the suite
		p.exited = time.Now()
		failed <- last
	}()
	select {
	case p.URL = <-address:
		return p, nil
	case last := <-failed:
		return nil, fmt.Errorf("the gateway ended: %s", last)
	case <-ctx.Done():
		p.Stop()
		return nil, fmt.Errorf("the gateway does not listen: %w", ctx.Err())
	}
}

// readLog reads a log to its end, tells the address when it comes, and returns the last line.
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
	return last
}

// stop asks the process to stop.
func (p *Process) stop() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// Stop ends the process, by asking and after a while without, and waits until it is gone.
func (p *Process) Stop() {
	_ = p.stop() // gone already, perhaps
	timer := time.NewTimer(3 * time.Second)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		_ = p.cmd.Process.Kill() // the same
		<-p.ended
	}
}
