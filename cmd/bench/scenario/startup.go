package scenario

import (
	"context"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/proc"
	"github.com/warren-gateway/warren/cmd/bench/publish"
	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/role"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

const readyMillis = "ready after, ms"

func startup() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "i", Title: "Start-up", Plot: readyMillis,
			Notes: "From the start of the process until it is ready (the gateway: `/readyz` says 200; nginx: it accepts a connection), and until a client that connects then has its first message, " +
				"published as soon as its stream is open. Memory is that of the process with this one client.",
		},
		Run: runStartup,
	}
}

func runStartup(ctx context.Context, e *Env, rec *report.Recorder) error {
	rabbit, err := e.broker(ctx)
	if err != nil {
		return err
	}
	exchange, err := e.exchange(ctx, rabbit)
	if err != nil {
		return err
	}
	size, err := e.BinarySize()
	if err != nil {
		return err
	}
	const mib = 1 << 20
	rec.Add("", gatewayName+", memory://", "binary, MiB", float64(size)/mib)
	starts := map[string]func() (target.Server, time.Duration, error){
		gatewayName + ", memory://": func() (target.Server, time.Duration, error) {
			return ready(target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary}))
		},
		gatewayName + ", RabbitMQ": func() (target.Server, time.Duration, error) {
			return ready(target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary, Broker: rabbit.URL(), Exchange: exchange}))
		},
		nchanName: func() (target.Server, time.Duration, error) {
			n, err := target.StartNchan(ctx, e.Cores, e.Files)
			if err != nil {
				return nil, 0, err
			}
			return n, n.ReadyAfter, nil
		},
	}
	for _, row := range []string{gatewayName + ", memory://", gatewayName + ", RabbitMQ", nchanName} {
		err := e.startOnce(ctx, rec, row, starts[row])
		if e.missing(err) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func ready(g *target.Gateway, err error) (target.Server, time.Duration, error) {
	if err != nil {
		return nil, 0, err
	}
	return g, g.ReadyAfter, nil
}

// startOnce starts a server and waits for its first message.
func (e *Env) startOnce(ctx context.Context, rec *report.Recorder, row string, start func() (target.Server, time.Duration, error)) error {
	// The client's processes are there already.
	readers, err := role.Start(ctx, load.Role)
	if err != nil {
		return err
	}
	defer readers.Stop()
	publisher, err := role.Start(ctx, publish.Role)
	if err != nil {
		return err
	}
	defer publisher.Stop()
	begun := time.Now()
	s, readyAfter, err := start()
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := readers.Call(ctx, "connect", load.ConnectArgs{Target: s.Stream(load.SSE), Count: 1}, nil); err != nil {
		return err
	}
	const often = 1000
	if err := publisher.Call(ctx, "start", publish.Job{Target: s.Publish(), Size: ownedSize, Rate: often}, nil); err != nil {
		return err
	}
	src := &source{Process: readers}
	for {
		c, err := src.counts(ctx)
		if err != nil {
			return err
		}
		if c.Messages > 0 {
			break
		}
		if err := wait(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	first := time.Since(begun)
	memory, err := proc.Memory(s.PIDs())
	if err != nil {
		return err
	}
	e.say("%s: ready after %v, first message after %v", row, readyAfter, first)
	rec.Add("", row, readyMillis, readyAfter.Seconds()*1e3)
	rec.Add("", row, "first message after, ms", first.Seconds()*1e3)
	rec.Add("", row, "memory, MiB", float64(memory)/(1<<20))
	return nil
}
