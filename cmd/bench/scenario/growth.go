package scenario

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/warren-gateway/warren/cmd/bench/report"
)

func growth() Scenario {
	return Scenario{
		Scenario: report.Scenario{
			ID: "g", Title: "Growth from 10 to 10,000 readers", Plot: costEach,
			Notes: "256-byte messages, flat out as in (a) and at a rate as in (b), but published through RabbitMQ: by REST, what a message costs " +
				"before anybody gets it would outweigh a delivery where readers are few. The rate is at most 50,000 deliveries per second, so that no number of readers " +
				"finds a core full: 200 messages per second up to 100 readers, 50 for 1,000 and 5 for 10,000. Each message is to be flushed at once, as in (b); a server that is late writes several " +
				"messages at once, which makes them cheaper, and few readers are never late. The last column compares with the best from 100 readers on. The bare loop shows how the cost of writing alone grows; it receives " +
				"nothing, so that it always is as busy as it can be. How (d) grows is in its own table.",
		},
		Run: runGrowth,
	}
}

const (
	// mostDeliveries bounds what a rate asks for, per second, so that the server keeps up: what is late it would write together.
	mostDeliveries = 50_000
	// fromReaders is where the comparison begins: fewer readers share the fixed costs of a message among too few.
	fromReaders = 100
	// growthLimit is how much more than the best a delivery may cost.
	growthLimit = 1.3
)

// growthCosts are the CPU per delivery in microseconds, by row and number of readers.
type growthCosts map[string]map[int]float64

func runGrowth(ctx context.Context, e *Env, rec *report.Recorder) error {
	rabbit, err := e.broker(ctx)
	if err != nil {
		return err
	}
	sizes := pick(e, []int{10, 100, 1000, 10_000}, []int{10, 100})
	for _, rated := range []bool{false, true} {
		costs := growthCosts{}
		for _, n := range sizes {
			w := work{readers: min(n, e.Files-spareFiles), size: ownedSize}
			if rated {
				w.rate = min(pacedRate, mostDeliveries/n)
			}
			err := e.fanOut(ctx, []entrant{e.gatewayOn(rabbit), e.loop()}, w, func(name, kind string, out outcome) {
				row, group := growthRow(name, kind, rated), count(n, "reader")
				rec.Add(group, row, perSecond, out.perSecond)
				rec.Add(group, row, costEach, out.micros())
				rec.Add(group, row, writesEach, out.writes)
				rec.Add(group, row, coresUsed, out.cores)
				if costs[row] == nil {
					costs[row] = map[int]float64{}
				}
				costs[row][n] = out.micros()
			})
			if err != nil {
				return err
			}
		}
		costs.compare(rec, sizes)
	}
	return nil
}

// compare adds to each row how it compares to the best of those with enough readers.
func (c growthCosts) compare(rec *report.Recorder, sizes []int) {
	for _, row := range slices.Sorted(maps.Keys(c)) {
		best, worst := math.Inf(1), 0.0
		for n, cost := range c[row] {
			if n >= fromReaders {
				best, worst = min(best, cost), max(worst, cost)
			}
		}
		for _, n := range sizes {
			rec.Add(count(n, "reader"), row, "CPU ÷ best", c[row][n]/best)
		}
		if strings.HasPrefix(row, gatewayName) {
			rec.AtMost(row+", CPU per delivery ÷ best, from 100 readers on", worst/best, growthLimit)
		}
	}
}

func growthRow(name, kind string, rated bool) string {
	if rated {
		return slot(name, kind) + ", at a rate"
	}
	return slot(name, kind) + ", flat out"
}
