package scenario

import (
	"context"
	"fmt"

	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

const perReader = "messages/s for each reader that reads"

func stalled() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "h", Title: "5 of 100 readers stall", Plot: perReader,
			Notes: "The 5 keep their connections open and read nothing. Rate flat out, latency at 500 messages per second, of the 95 others; 256-byte messages. `missed` is what " +
				"the slowest of the 95 lacks of all that was published. r3labs/sse and others that write to readers one after the other would stop here. " +
				"The gateway is measured three times in each run, in turn with and without those that stall.",
		},
		Run: runStalled,
	}
}

const (
	stalledReaders = 100
	stalls         = 5
	stalledRate    = 500 // messages per second when latency is taken
	keptRate       = 0.9 // of the rate that the others should keep
	// stalledTurns is how often the gateway's rates are taken, in turn without and with stalled readers: of two rates flat out one
	// after the other, the broker's day makes one a fifth more than the other.
	stalledTurns = 3
)

func runStalled(ctx context.Context, e *Env, rec *report.Recorder) error {
	rabbit, err := e.broker(ctx)
	if err != nil {
		return err
	}
	for _, who := range []entrant{e.gatewayOn(rabbit), e.nchan()} {
		for _, kind := range who.kinds {
			if err := e.stalledRows(ctx, rec, who, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// stalledRows measures a server without and with stalled readers, in turn.
func (e *Env) stalledRows(ctx context.Context, rec *report.Recorder, who entrant, kind string) error {
	turns := 1
	if who.name == gatewayName {
		turns = pick(e, stalledTurns, 1)
	}
	var all, others, missed float64
	for range turns {
		undisturbed, err := e.stalledRow(ctx, rec, who, kind, 0)
		if err != nil {
			return err
		}
		disturbed, err := e.stalledRow(ctx, rec, who, kind, stalls)
		if err != nil {
			return err
		}
		all, others, missed = all+undisturbed.messages, others+disturbed.messages, missed+float64(disturbed.missed)
	}
	if who.name == gatewayName {
		rec.AtMost(kindName(kind)+", messages that one of the 95 missed", missed, 0)
		rec.AtLeast(kindName(kind)+", rate of the 95 ÷ rate when all read", others/all, keptRate)
	}
	return nil
}

// stalledRow measures a server with so many stalled readers, and answers the rate flat out and what was missed at all.
func (e *Env) stalledRow(ctx context.Context, rec *report.Recorder, who entrant, kind string, n int) (flat outcome, err error) {
	w := work{kind: kind, readers: stalledReaders, size: ownedSize, stalled: n}
	row, group := slot(who.name, kind), "all read"
	if n > 0 {
		group = fmt.Sprintf("%d stall", n)
	}
	err = e.on(ctx, who, func(s target.Server) error {
		var timed outcome
		if flat, timed, err = e.stalledOne(ctx, s, w); err != nil {
			return err
		}
		flat.missed = max(flat.missed, timed.missed)
		e.say("%s, %s: %.0f messages/s, 99 %% %.3f ms", row, group, flat.messages, millis(timed.latencies.P99))
		rec.Add(group, row, perReader, flat.messages)
		rec.Add(group, row, medianMillis, millis(timed.latencies.Median))
		rec.Add(group, row, "99 %, ms", millis(timed.latencies.P99))
		rec.Add(group, row, missedAny, float64(flat.missed))
		return nil
	})
	return flat, err
}

// stalledOne measures flat out, then at a rate, with fresh readers.
func (e *Env) stalledOne(ctx context.Context, s target.Server, w work) (flat, timed outcome, err error) {
	if flat, err = e.drive(ctx, s, w); err != nil {
		return flat, timed, err
	}
	w.rate, w.latency = stalledRate, true
	timed, err = e.drive(ctx, s, w)
	return flat, timed, err
}
