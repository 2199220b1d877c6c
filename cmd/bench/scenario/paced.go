package scenario

import (
	"context"
	"fmt"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/report"
)

const (
	// pacedRate is the rate of scenarios whose messages are flushed one by one, per second.
	pacedRate = 200
	// keepUpRate is one at which every server keeps up with all readers.
	keepUpRate = 50
)

func paced() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "b", Title: "1,000 readers at 200 messages per second", Plot: costEach,
			Notes: "Each message is to be written to each reader at once. Who publishes how is as in (a). " +
				"A server that keeps up makes one write per delivery; one that is behind, its core being full, has several messages for a reader by then and may write them together, which " +
				"makes its deliveries cheaper: the column of writes tells (the gateway and the bare loop count theirs to streams; of the others the kernel counts all that the processes make). " +
				"The column of segments, TCP segments with data that readers received, also tells what the server's kernel put together. That is so with `Nchan`: nginx sets TCP_NODELAY only on a " +
				"connection that it keeps after a first answer, and Nchan does not for its streams, so a message waits while the one before is not acknowledged (Nagle's algorithm). " +
				"With `Nchan, no delay` each reader makes a request that nginx answers with 404 before it subscribes on the same connection, and TCP_NODELAY is set as with all others: like is compared with like there. " +
				"At 50 messages per second every server keeps up, so that each message is a write of its own with all of them. " +
				"Readers have the last core to themselves and the server (its workers, and Go's GOMAXPROCS, are as many) the others: whether a write must wake readers on another core, " +
				"which costs more than all the rest of it, else is the scheduler's whim, and a network's server wakes nobody.",
		},
		Run: runPaced,
	}
}

func runPaced(ctx context.Context, e *Env, rec *report.Recorder) error {
	field, err := e.field(ctx, e.nchan(), e.nchanNodelay())
	if err != nil {
		return err
	}
	for _, size := range e.sizes() {
		if err := e.pacedGroup(ctx, rec, field, sizeName(size), work{size: size, rate: pacedRate}); err != nil {
			return err
		}
	}
	if e.Quick {
		return nil
	}
	return e.pacedGroup(ctx, rec, field, fmt.Sprintf("%s, %d/s", sizeName(ownedSize), keepUpRate), work{size: ownedSize, rate: keepUpRate})
}

// pacedGroup measures all entrants at one size and rate.
func (e *Env) pacedGroup(ctx context.Context, rec *report.Recorder, field []entrant, group string, w work) error {
	got := map[string]float64{} // CPU per delivery in microseconds, by row
	w.readers = pick(e, 1000, 100)
	err := e.fanOut(ctx, field, w, func(name, kind string, out outcome) {
		row := slot(name, kind)
		got[row] = out.micros()
		rec.Add(group, row, costEach, out.micros())
		rec.Add(group, row, coresUsed, out.cores)
		rec.Add(group, row, perSecond, out.perSecond)
		rec.Add(group, row, writesEach, out.writes)
		rec.Add(group, row, segsEach, out.segments)
	})
	if err != nil {
		return err
	}
	ratios(rec, group, got, "CPU")
	for _, kind := range []string{load.SSE, load.WS} {
		for _, reference := range []string{nchanNodelayName, nchanName, centrifugoName, mercureName} {
			if peer := got[slot(reference, kind)]; peer > 0 {
				rec.AtMost(kindName(kind)+", CPU per delivery ÷ "+reference+", "+group, got[slot(gatewayName, kind)]/peer, 1)
			}
		}
	}
	return nil
}
