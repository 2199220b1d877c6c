package scenario

import (
	"context"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/report"
)

// pacedRate is the rate of scenarios whose messages are flushed one by one, per second.
const pacedRate = 200

func paced() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "b", Title: "1,000 readers at 200 messages per second", Plot: costEach,
			Notes: "Each message is to be written to each reader at once. Who publishes how is as in (a). " +
				"A server that keeps up makes one write per delivery; one that is behind, its core being full, has several messages for a reader by then and may write them together, which " +
				"makes its deliveries cheaper: the column of writes tells (write and writev, as the kernel counts them for the server's processes). " +
				"Readers have the last core to themselves and the server (its workers, and Go's GOMAXPROCS, are as many) the others: whether a write must wake readers on another core, " +
				"which costs more than all the rest of it, else is the scheduler's whim, and a network's server wakes nobody.",
		},
		Run: runPaced,
	}
}

func runPaced(ctx context.Context, e *Env, rec *report.Recorder) error {
	field, err := e.field(ctx)
	if err != nil {
		return err
	}
	for _, size := range e.sizes() {
		got := map[string]float64{}
		w := work{readers: pick(e, 1000, 100), size: size, rate: pacedRate}
		err := e.fanOut(ctx, field, w, func(name, kind string, out outcome) {
			row := slot(name, kind)
			got[row] = out.micros()
			rec.Add(sizeName(size), row, costEach, out.micros())
			rec.Add(sizeName(size), row, coresUsed, out.cores)
			rec.Add(sizeName(size), row, perSecond, out.perSecond)
			rec.Add(sizeName(size), row, writesEach, out.writes)
		})
		if err != nil {
			return err
		}
		ratios(rec, sizeName(size), got, "CPU")
		for _, kind := range []string{load.SSE, load.WS} {
			if nchan := got[slot(nchanName, kind)]; nchan > 0 {
				rec.AtMost(kindName(kind)+", CPU per delivery ÷ Nchan, "+sizeName(size), got[slot(gatewayName, kind)]/nchan, 1)
			}
		}
	}
	return nil
}
