package scenario

import (
	"context"
	"fmt"

	"github.com/warren-gateway/warren/cmd/bench/report"
)

func growth() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "g", Title: "Growth from 10 to 10,000 readers", Plot: costEach,
			Notes: "The gateway alone, 256-byte messages, flat out as in (a) and at a rate as in (b). With 10,000 readers the rate is 20 per second: 200,000 deliveries per second " +
				"are what this load generator can be sure of. The last column compares with the best from 100 readers on. How (d) grows is in its own table.",
		},
		Run: runGrowth,
	}
}

func runGrowth(ctx context.Context, e *Env, rec *report.Recorder) error {
	const (
		mostDeliveries = 200_000 // per second, where there is a rate
		fromReaders    = 100     // fewer share the fixed costs of a message among too few
		limit          = 1.3
	)
	for _, rated := range []bool{false, true} {
		best, costs := map[string]float64{}, map[string]map[int]float64{}
		sizes := pick(e, []int{10, 100, 1000, 10_000}, []int{10, 100})
		for _, n := range sizes {
			w := work{readers: min(n, e.Files-spareFiles), size: ownedSize}
			if rated {
				w.rate = min(pacedRate, mostDeliveries/n)
			}
			err := e.fanOut(ctx, []entrant{e.gateway()}, w, func(name, kind string, out outcome) {
				row, group := growthRow(name, kind, rated), count(n, "reader")
				rec.Add(group, row, perSecond, out.perSecond)
				rec.Add(group, row, costEach, out.micros())
				if costs[row] == nil {
					costs[row] = map[int]float64{}
				}
				costs[row][n] = out.micros()
				if n >= fromReaders && (best[row] == 0 || out.micros() < best[row]) {
					best[row] = out.micros()
				}
			})
			if err != nil {
				return err
			}
		}
		for row, byReaders := range costs {
			worst := 0.0
			for _, n := range sizes {
				ratio := byReaders[n] / best[row]
				rec.Add(count(n, "reader"), row, "CPU ÷ best", ratio)
				if n >= fromReaders {
					worst = max(worst, ratio)
				}
			}
			rec.AtMost(fmt.Sprintf("%s, CPU per delivery ÷ best, from 100 readers on", row), worst, limit)
		}
	}
	return nil
}

func growthRow(name, kind string, rated bool) string {
	if rated {
		return slot(name, kind) + ", at a rate"
	}
	return slot(name, kind) + ", flat out"
}
