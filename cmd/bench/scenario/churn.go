package scenario

import (
	"context"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/peer"
	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/role"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

const createdPerSecond = "created/s"

func churn() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "f", Title: "Creating and deleting subscriptions", Plot: createdPerSecond,
			Notes: "By 32 workers. The bare loop opens a channel, declares, binds and consumes with amqp091-go, then deletes queue and channel; the gateway is asked by REST and " +
				"answers when the broker has confirmed.",
		},
		Run: runChurn,
	}
}

func runChurn(ctx context.Context, e *Env, rec *report.Recorder) error {
	rabbit, err := e.broker(ctx)
	if err != nil {
		return err
	}
	exchange, err := e.exchange(ctx, rabbit)
	if err != nil {
		return err
	}
	const workers = 32
	args := load.ChurnArgs{URL: rabbit.URL(), Exchange: exchange, Count: pick(e, 1000, 100), Workers: workers}
	bare, err := churned(ctx, peer.ConsumerRole, args)
	if err != nil {
		return err
	}
	// The exchange went with the bare loop's last queue.
	if args.Exchange, err = e.exchange(ctx, rabbit); err != nil {
		return err
	}
	g, err := target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary, Broker: rabbit.URL(), Exchange: args.Exchange})
	if err != nil {
		return err
	}
	defer g.Stop()
	args.URL = g.URL()
	ours, err := churned(ctx, load.Role, args)
	if err != nil {
		return err
	}
	n, group := float64(args.Count), count(args.Count, "subscription")
	for _, row := range []struct {
		name  string
		times load.ChurnTimes
	}{{bareName, bare}, {gatewayName, ours}} {
		e.say("%s, %s: %.0f created/s, %.0f deleted/s", row.name, group, n/row.times.Create, n/row.times.Delete)
		rec.Add(group, row.name, createdPerSecond, n/row.times.Create)
		rec.Add(group, row.name, "deleted/s", n/row.times.Delete)
	}
	rec.Add(group, gatewayName, "created ÷ bare", bare.Create/ours.Create)
	rec.Add(group, gatewayName, "deleted ÷ bare", bare.Delete/ours.Delete)
	rec.AtLeast("created ÷ bare", bare.Create/ours.Create, 0.8)
	rec.AtLeast("deleted ÷ bare", bare.Delete/ours.Delete, 0.8)
	return nil
}

func churned(ctx context.Context, who string, args load.ChurnArgs) (load.ChurnTimes, error) {
	var took load.ChurnTimes
	p, err := role.Start(ctx, who)
	if err != nil {
		return took, err
	}
	defer p.Stop()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return took, p.Call(ctx, "churn", args, &took)
}
