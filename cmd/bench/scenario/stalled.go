package scenario

import (
	"context"

	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

const perReader = "messages/s for each reader that reads"

func stalled() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "h", Title: "5 of 100 readers stall", Plot: perReader,
			Notes: "The 5 keep their connections open and read nothing. Rate flat out, latency at 500 messages per second, of the 95 others; 256-byte messages. `missed` is what " +
				"the slowest of the 95 lacks of all that was published. r3labs/sse and others that write to readers one after the other would stop here.",
		},
		Run: runStalled,
	}
}

func runStalled(ctx context.Context, e *Env, rec *report.Recorder) error {
	const (
		readers, stalls = 100, 5
		latencyRate     = 500
		atLeast         = 0.9
	)
	for _, who := range []entrant{e.gateway(), e.nchan()} {
		for _, kind := range who.kinds {
			rates := map[int]float64{}
			for _, n := range []int{0, stalls} {
				w := work{kind: kind, readers: readers, size: ownedSize, stalled: n}
				row := slot(who.name, kind)
				group := map[int]string{0: "all read", stalls: "5 stall"}[n]
				err := e.on(ctx, who, func(s target.Server) error {
					return e.stalledOne(ctx, s, w, latencyRate, func(flat, timed outcome) {
						e.say("%s, %s: %.0f messages/s, 99 %% %.3f ms", row, group, flat.messages, millis(timed.latencies.P99))
						rates[n] = flat.messages
						rec.Add(group, row, perReader, flat.messages)
						rec.Add(group, row, medianMillis, millis(timed.latencies.Median))
						rec.Add(group, row, "99 %, ms", millis(timed.latencies.P99))
						rec.Add(group, row, missedAny, float64(max(flat.missed, timed.missed)))
						if who.name == gatewayName && n > 0 {
							rec.AtMost(kindName(kind)+", messages that one of the 95 missed", float64(max(flat.missed, timed.missed)), 0)
						}
					})
				})
				if err != nil {
					return err
				}
			}
			if rates[0] > 0 && who.name == gatewayName {
				rec.AtLeast(kindName(kind)+", rate of the 95 ÷ rate when all read", rates[stalls]/rates[0], atLeast)
			}
		}
	}
	return nil
}

// stalledOne measures flat out, then at a rate, with fresh readers.
func (e *Env) stalledOne(ctx context.Context, s target.Server, w work, rate int, f func(flat, timed outcome)) error {
	flat, err := e.drive(ctx, s, w)
	if err != nil {
		return err
	}
	w.rate, w.latency = rate, true
	timed, err := e.drive(ctx, s, w)
	if err != nil {
		return err
	}
	f(flat, timed)
	return nil
}
