package scenario

import (
	"context"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/report"
)

// The metrics that several scenarios have.
const (
	perSecond  = "deliveries/s"
	coresUsed  = "server CPU, cores"
	costEach   = "CPU per delivery, µs"
	writesEach = "writes per delivery"
	segsEach   = "segments per delivery"
	costBroker = "broker's CPU per delivery, µs"
	missedAny  = "missed"
)

// micros is the CPU per delivery in microseconds.
func (o outcome) micros() float64 { return o.cost.Seconds() * 1e6 }

// slot names a server with a protocol.
func slot(name, kind string) string { return name + " " + kindName(kind) }

func flatOut() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "a", Title: "Flat out: one subscription, 1,000 readers", Plot: perSecond,
			Notes: "The publisher stays at most a bounded number of messages ahead of the slowest reader, so nothing is lost and every server is " +
				"asked for as much as it can do. The gateway gets the messages from RabbitMQ, which has its share of the machine meanwhile; `REST` is the gateway without a broker, to which they " +
				"are posted one by one, as to the peers. Receiving is in the server's CPU; the bare loop receives nothing.",
		},
		Run: runFlatOut,
	}
}

func runFlatOut(ctx context.Context, e *Env, rec *report.Recorder) error {
	field, err := e.field(ctx, e.nchan())
	if err != nil {
		return err
	}
	for _, size := range e.sizes() {
		got := map[string]float64{}
		w := work{readers: pick(e, 1000, 100), size: size}
		err := e.fanOut(ctx, field, w, func(name, kind string, out outcome) {
			row := slot(name, kind)
			got[row] = out.perSecond
			rec.Add(sizeName(size), row, perSecond, out.perSecond)
			rec.Add(sizeName(size), row, coresUsed, out.cores)
			rec.Add(sizeName(size), row, costEach, out.micros())
		})
		if err != nil {
			return err
		}
		ratios(rec, sizeName(size), got, perSecond)
		ours, nchan, loop := slot(gatewayName, load.SSE), slot(nchanName, load.SSE), slot(loopName, load.SSE)
		rec.AtLeast("SSE ÷ bare loop, "+sizeName(size), got[ours]/got[loop], 0.5)
		if got[nchan] > 0 {
			rec.AtLeast("SSE ÷ Nchan, "+sizeName(size), got[ours]/got[nchan], 4)
		}
		rec.AtLeast("WebSocket ÷ SSE, "+sizeName(size), got[slot(gatewayName, load.WS)]/got[ours], 0.6)
		for _, hub := range []entrant{e.centrifugo(), e.mercure()} {
			for _, kind := range hub.kinds {
				if peer := got[slot(hub.name, kind)]; peer > 0 {
					rec.AtLeast(kindName(kind)+" ÷ "+hub.name+", "+sizeName(size), got[slot(gatewayName, kind)]/peer, 1)
				}
			}
		}
	}
	return nil
}

// ratios adds to each row how it compares to the bare loop and to each Nchan with the same protocol.
func ratios(rec *report.Recorder, group string, got map[string]float64, metric string) {
	for _, reference := range []string{loopName, nchanName, nchanNodelayName} {
		for _, name := range []string{gatewayName, restName, nchanName, nchanNodelayName, centrifugoName, mercureName, r3labsName, loopName} {
			for _, kind := range []string{load.SSE, load.WS} {
				value, to := got[slot(name, kind)], got[slot(reference, kind)]
				if value > 0 && to > 0 {
					rec.Add(group, slot(name, kind), metric+" ÷ "+reference, value/to)
				}
			}
		}
	}
}
