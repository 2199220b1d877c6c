package scenario

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/peer"
	"github.com/warren-gateway/warren/cmd/bench/publish"
	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/role"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

// ownedSize is the size of messages through RabbitMQ, in bytes.
const ownedSize = 256

func owned() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "d", Title: "One reader per owned subscription, through RabbitMQ", Plot: perSecond,
			Notes: "256-byte messages to a fanout exchange, as fast as the slowest reader follows. The bare consumer has as many queues with the same " +
				"bounds in one process: amqp091-go, one connection, a channel for each queue, prefetch 128, one acknowledgement for 32 deliveries, and does nothing " +
				"with a message but count it. The gateway also writes each to an SSE stream, and the broker shares the machine with both.",
		},
		Run: runOwned,
	}
}

// subscriptions are the sizes of the scenarios with owned subscriptions.
func (e *Env) subscriptions() []int { return pick(e, []int{1, 10, 100, 1000}, []int{1, 10}) }

func runOwned(ctx context.Context, e *Env, rec *report.Recorder) error {
	for _, n := range e.subscriptions() {
		bare, ours, err := e.ownedBoth(ctx, n, work{kind: load.SSE, readers: n, size: ownedSize})
		if err != nil {
			return err
		}
		group := count(n, "subscription")
		for row, out := range map[string]outcome{bareName: bare, gatewayName: ours} {
			e.say("%s, %s: %.0f deliveries/s, %v each", row, group, out.perSecond, out.cost)
		}
		addOwned(rec, group, bareName, bare)
		addOwned(rec, group, gatewayName, ours)
		rate, cost := ours.perSecond/bare.perSecond, ours.cost.Seconds()/bare.cost.Seconds()
		rec.Add(group, gatewayName, "deliveries ÷ bare consumer", rate)
		rec.Add(group, gatewayName, "CPU ÷ bare consumer", cost)
		// Either will do: where the broker eats the machine, the gateway's own cost is what tells.
		e.flat[n] = min(bare.messages, ours.messages)
		rec.AtLeastOrAtMost("deliveries ÷ bare consumer, "+group, rate, 0.9, "CPU ÷ bare consumer", cost, 1.5)
	}
	return nil
}

func addOwned(rec *report.Recorder, group, row string, out outcome) {
	rec.Add(group, row, perSecond, out.perSecond)
	rec.Add(group, row, coresUsed, out.cores)
	rec.Add(group, row, costEach, out.micros())
	rec.Add(group, row, "broker's CPU, cores", out.watched)
}

// ownedBoth does the same work to the bare consumer and to the gateway.
func (e *Env) ownedBoth(ctx context.Context, n int, w work) (bare, ours outcome, err error) {
	rabbit, err := e.broker(ctx)
	if err != nil {
		return bare, ours, err
	}
	w.watch, w.queues = []int{rabbit.PID()}, n
	if bare, err = e.bareOwned(ctx, rabbit, n, w); err != nil {
		return bare, ours, fmt.Errorf("bare consumer: %w", err)
	}
	exchange, err := e.exchange(ctx, rabbit)
	if err != nil {
		return bare, ours, err
	}
	g, err := target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary, Broker: rabbit.URL(), Exchange: exchange, Owned: true})
	if err != nil {
		return bare, ours, err
	}
	defer g.Stop()
	ours, err = e.drive(ctx, g, w)
	return bare, ours, err
}

// bareOwned drives the bare consumer.
func (e *Env) bareOwned(ctx context.Context, rabbit *target.Rabbit, n int, w work) (outcome, error) {
	exchange, err := e.exchange(ctx, rabbit)
	if err != nil {
		return outcome{}, err
	}
	p, err := role.Start(ctx, peer.ConsumerRole)
	if err != nil {
		return outcome{}, err
	}
	defer p.Stop()
	src := &source{Process: p, progress: e.progressFile()}
	args := peer.ConsumeArgs{URL: rabbit.URL(), Exchange: exchange, Queues: n, Progress: src.progress}
	if err := p.Call(ctx, "consume", args, nil); err != nil {
		return outcome{}, err
	}
	to := publish.Target{Kind: publish.AMQP, URL: rabbit.URL(), Exchange: exchange}
	return e.publishAndMeasure(ctx, to, []int{p.PID()}, src, w)
}

// exchange declares a fanout exchange that nobody used before; it goes with its last queue.
func (e *Env) exchange(ctx context.Context, rabbit *target.Rabbit) (string, error) {
	name := e.name("exchange")
	if err := ctx.Err(); err != nil {
		return "", err
	}
	conn, err := amqp.Dial(rabbit.URL())
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // its work is confirmed
	ch, err := conn.Channel()
	if err != nil {
		return "", err
	}
	return name, ch.ExchangeDeclare(name, amqp.ExchangeFanout, false, true, false, false, nil)
}
