package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/publish"
)

// Exchange is the name of the gateway's exchange when it has no broker.
const Exchange = "bench"

// readyText is what the first frame of a stream of the gateway has in it.
const readyText = `"type":"ready"`

// Build builds the gateway as "make build" does, without a version.
func Build(ctx context.Context, dir string) (string, error) {
	name := filepath.Join(dir, "warren")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", name, "github.com/warren-gateway/warren/cmd/warren")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return name, nil
}

// GatewayOptions say how to start the gateway.
type GatewayOptions struct {
	Binary   string
	Broker   string // AMQP URL; empty: memory://
	Exchange string // to listen to; with memory:// it is declared, as fanout
	Owned    bool   // each reader has a subscription of its own
}

// Gateway is the gateway under test.
type Gateway struct {
	*daemon
	options    GatewayOptions
	addr       string
	admin      string        // URL of the admin listener
	ReadyAfter time.Duration // from the start of the process until /readyz said 200
}

// Limits are the bounds that a benchmark from one machine would run into; all else is at its default.
func Limits() []string {
	const many = "1000000"
	flags := make([]string, 0, 16)
	for _, name := range []string{
		"max-streams", "max-streams-per-caller", "max-subscriptions", "max-subscriptions-per-caller",
		"create-rate", "create-rate-per-caller", "create-burst-per-caller", "request-rate-per-caller", "request-burst-per-caller",
	} {
		flags = append(flags, "--"+name+"="+many)
	}
	return flags
}

// StartGateway starts the gateway and waits until it is ready.
func StartGateway(ctx context.Context, o GatewayOptions) (*Gateway, error) {
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"}, Limits()...)
	if o.Broker != "" {
		args = append(args, "--broker", o.Broker)
	} else {
		o.Exchange = Exchange
	}
	begun := time.Now()
	d, err := spawn(ctx, o.Binary, args...)
	if err != nil {
		return nil, err
	}
	g := &Gateway{daemon: d, options: o}
	err = d.await(ctx, "address", func() bool { return g.learnAddress() })
	if err == nil {
		err = d.await(ctx, "readiness", func() bool { return g.ask(ctx, http.MethodGet, "/readyz", "") == nil })
		g.ReadyAfter = time.Since(begun)
	}
	if err == nil && o.Broker == "" {
		err = g.ask(ctx, http.MethodPut, "/v1/exchanges/"+Exchange, `{"type":"fanout"}`)
	}
	if err != nil {
		g.Stop()
		return nil, fmt.Errorf("starting the gateway: %w", err)
	}
	return g, nil
}

func (g *Gateway) learnAddress() bool {
	for line := range bytes.Lines(g.said()) {
		var entry struct{ Msg, URL, Admin string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" {
			g.admin = entry.Admin
			g.addr = strings.TrimPrefix(entry.URL, "http://")
			return true
		}
	}
	return false
}

func (g *Gateway) ask(ctx context.Context, method, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, g.URL()+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil
}

// URL answers where the gateway serves.
func (g *Gateway) URL() string { return "http://" + g.addr }

// Writes implements Counter by the gateway's metric: each time that a stream wrote all it had.
func (g *Gateway) Writes(ctx context.Context) (int64, error) {
	text, err := g.fromAdmin(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	const name = "warren_writes_total"
	if families[name] == nil {
		return 0, errors.New("the gateway has no metric " + name)
	}
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return int64(sum), nil
}

// Profile writes a CPU profile of the time from now on into a file and answers when it is there.
func (g *Gateway) Profile(ctx context.Context, d time.Duration, file string) error {
	seconds := max(1, int(d.Seconds()))
	profile, err := g.fromAdmin(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
	if err != nil {
		return err
	}
	const mode = 0o600
	return os.WriteFile(file, profile, mode)
}

// fromAdmin answers what the admin listener has at a path.
func (g *Gateway) fromAdmin(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// Name answers "warren".
func (*Gateway) Name() string { return "warren" }

// PIDs answers the gateway's process.
func (g *Gateway) PIDs() []int { return []int{g.cmd.Process.Pid} }

// Stream reads the shared subscription of the exchange, or one of the reader's own.
func (g *Gateway) Stream(kind string) load.Target {
	t := load.Target{Kind: kind, Addr: g.addr, Path: "/v1/" + kind + "?exchange=" + g.options.Exchange, Ready: readyText}
	if g.options.Owned {
		t.Path += "&share=false"
	}
	return t
}

// Publish publishes by REST; with a broker one publishes there.
func (g *Gateway) Publish() publish.Target {
	if g.options.Broker != "" {
		return publish.Target{Kind: publish.AMQP, URL: g.options.Broker, Exchange: g.options.Exchange}
	}
	return publish.Target{Kind: publish.Warren, URL: g.URL() + "/v1/exchanges/" + Exchange + "/publish"}
}

// Stop ends the gateway at once: readers of a benchmark need no drain.
func (g *Gateway) Stop() {
	_ = g.cmd.Process.Kill()
	<-g.done
}
