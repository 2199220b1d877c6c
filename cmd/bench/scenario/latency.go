package scenario

import (
	"context"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/report"
)

const medianMillis = "median, ms"

func latency() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "e", Title: "Latency from publisher to client at half the load of (d)", Plot: medianMillis,
			Notes: "From just before the publish to the read of the bytes in the client's process, by one clock, all messages of all readers, both at the same rate: half of what the slower of the two did in (d).",
		},
		Run: runLatency,
	}
}

func runLatency(ctx context.Context, e *Env, rec *report.Recorder) error {
	for _, n := range e.subscriptions() {
		if e.flat[n] == 0 {
			bare, ours, err := e.ownedBoth(ctx, n, work{kind: load.SSE, readers: n, size: ownedSize})
			if err != nil {
				return err
			}
			e.flat[n] = min(bare.messages, ours.messages)
		}
		const half = 2
		w := work{kind: load.SSE, readers: n, size: ownedSize, rate: max(1, int(e.flat[n]/half)), latency: true}
		bare, ours, err := e.ownedBoth(ctx, n, w)
		if err != nil {
			return err
		}
		group := count(n, "subscription")
		add := func(row string, l load.Latencies) {
			e.say("%s, %s, %d messages/s: median %.3f ms, 99 %% %.3f ms", row, group, w.rate, millis(l.Median), millis(l.P99))
			rec.Add(group, row, "messages/s", float64(w.rate))
			rec.Add(group, row, medianMillis, millis(l.Median))
			rec.Add(group, row, "99 %, ms", millis(l.P99))
			rec.Add(group, row, "longest, ms", millis(l.Max))
		}
		add(bareName, bare.latencies)
		add(gatewayName, ours.latencies)
		rec.AtMost("median above the bare consumer, ms, "+group, millis(ours.latencies.Median-bare.latencies.Median), 0.3)
		rec.AtMost("99th percentile above the bare consumer, ms, "+group, millis(ours.latencies.P99-bare.latencies.P99), 2)
	}
	return nil
}

func millis(nanoseconds int64) float64 { return float64(nanoseconds) / 1e6 }
