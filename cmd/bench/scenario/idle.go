package scenario

import (
	"context"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/proc"
	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

const (
	idleMetric = "KiB per connection"
	// spareFiles is how many files of a process are not for connections.
	spareFiles = 512
)

func idle() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "c", Title: "Memory of idle connections", Plot: idleMetric,
			Notes: "What the server's resident memory grew by, divided by the connections, some seconds after the last one was made. Memory of the kernel is not in it. " +
				"Nobody asks the gateway to collect garbage. Where the limit of open files is below 20,000, there are as many connections as it allows.",
		},
		Run: runIdle,
	}
}

func runIdle(ctx context.Context, e *Env, rec *report.Recorder) error {
	for _, n := range pick(e, []int{5000, 20_000}, []int{500, 1000}) {
		n = min(n, e.Files-spareFiles)
		got := map[string]float64{} // KiB per connection, by row
		for _, who := range []entrant{e.gateway(), e.nchan(), e.centrifugo(), e.mercure(), e.r3labs()} {
			for _, kind := range who.kinds {
				err := e.on(ctx, who, func(s target.Server) (err error) {
					got[slot(who.name, kind)], err = e.idleMemory(ctx, s, kind, n, rec)
					return err
				})
				if err != nil {
					return err
				}
			}
		}
		for _, hub := range []entrant{e.centrifugo(), e.mercure()} {
			for _, kind := range hub.kinds {
				if peer := got[slot(hub.name, kind)]; peer > 0 {
					rec.AtMost(kindName(kind)+", KiB per connection ÷ "+hub.name+", "+count(n, "connection"), got[slot(restName, kind)]/peer, 1)
				}
			}
		}
	}
	return nil
}

// idleMemory answers what each of n connections takes of a server's memory, in KiB.
func (e *Env) idleMemory(ctx context.Context, s target.Server, kind string, n int, rec *report.Recorder) (each float64, err error) {
	before, err := proc.Memory(s.PIDs())
	if err != nil {
		return 0, err
	}
	src, err := e.connect(ctx, s, work{kind: kind, readers: n})
	if err != nil {
		return 0, err
	}
	defer src.Stop()
	if err := wait(ctx, pick(e, 3*time.Second, time.Second)); err != nil {
		return 0, err
	}
	after, err := proc.Memory(s.PIDs())
	if err != nil {
		return 0, err
	}
	each = float64(after-before) / float64(n) / 1024
	group, row := count(n, "connection"), slot(s.Name(), kind)
	e.say("%s, %s: %.1f KiB each", row, group, each)
	rec.Add(group, row, idleMetric, each)
	rec.Add(group, row, "all, MiB", float64(after)/(1<<20))
	if s.Name() == gatewayName {
		limit := map[string]float64{load.SSE: 10, load.WS: 12}[kind]
		rec.AtMost(kindName(kind)+", KiB per connection, "+group, each, limit)
	}
	return each, nil
}
