package scenario

import (
	"context"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

// ownRate is the rate of messages where each page has a queue of its own, per second: RabbitMQ cannot do pacedRate for 1,000 queues.
const ownRate = 20

func sharing() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "j", Title: "What sharing saves: 1,000 pages on one URL through RabbitMQ", Plot: costBroker,
			Notes: "Through the gateway the pages share one queue and get 200 messages of 256 bytes per second. Without sharing, as owned subscriptions or with the broker's own plugins, there is a queue for each page, " +
				"and 20 messages per second: the broker cannot do ten times that here. With the plugins the broker is the server, and all its CPU is counted as the broker's.",
		},
		Run: runSharing,
	}
}

func runSharing(ctx context.Context, e *Env, rec *report.Recorder) error {
	rabbit, err := e.broker(ctx)
	if err != nil {
		return err
	}
	pages := pick(e, 1000, 100)
	add := func(row string, rate int, out outcome, broker float64) {
		e.say("%s: %.0f deliveries/s, gateway %.2f cores, broker %.2f cores", row, out.perSecond, out.cores, broker)
		group := count(pages, "page")
		rec.Add(group, row, "messages/s", float64(rate))
		rec.Add(group, row, perSecond, out.perSecond)
		rec.Add(group, row, "gateway's CPU, cores", out.cores)
		rec.Add(group, row, "broker's CPU, cores", broker)
		rec.Add(group, row, costBroker, broker/out.perSecond*1e6)
		rec.Add(group, row, "both, µs per delivery", (broker+out.cores)/out.perSecond*1e6)
	}
	for _, c := range []struct {
		row   string
		owned bool
		rate  int
	}{{"warren, shared", false, pacedRate}, {"warren, owned", true, ownRate}} {
		exchange, err := e.exchange(ctx, rabbit)
		if err != nil {
			return err
		}
		g, err := target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary, Broker: rabbit.URL(), Exchange: exchange, Owned: c.owned})
		if err != nil {
			return err
		}
		out, err := e.drive(ctx, g, work{kind: load.SSE, readers: pages, size: ownedSize, rate: c.rate, watch: []int{rabbit.PID()}})
		g.Stop()
		if err != nil {
			return err
		}
		add(c.row, c.rate, out, out.watched)
	}
	for _, kind := range []string{load.STOMP, load.MQTT} {
		plugin := rabbit.Plugin(kind)
		out, err := e.drive(ctx, plugin, work{kind: kind, readers: pages, size: ownedSize, rate: ownRate})
		if err != nil {
			return err
		}
		broker := out.cores
		out.cores = 0
		add(plugin.Name(), ownRate, out, broker)
	}
	return nil
}
