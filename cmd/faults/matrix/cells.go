package matrix

import (
	"context"
	"regexp"
	"slices"
	"sync"

	"github.com/warren-gateway/warren/cmd/faults/client"
)

// Cell is a fault done to a set of clients.
type Cell struct {
	Fault
	Clients string // the name of the set
	Kinds   []client.Kind
}

// ID returns the name by which a cell is chosen.
func (c *Cell) ID() string { return c.Name + " × " + c.Clients }

// sets are the clients of a cell.
var sets = []struct {
	name  string
	kinds []client.Kind
}{
	{"by query", []client.Kind{client.SSEQuery, client.WSQuery, client.SwitchQuery, client.ListenWS}},
	{"by id", []client.Kind{client.SSEID, client.WSID, client.SwitchID, client.ListenSSE}},
}

// Cells returns the whole matrix.
func Cells() []Cell {
	faults := slices.Concat(brokerFaults(), nodeFaults(), brokerNetworkFaults(), clientNetworkFaults(), readerFaults(), gatewayFaults())
	var cells []Cell
	for _, f := range faults {
		for i, set := range sets {
			cell := Cell{Fault: f, Clients: set.name, Kinds: set.kinds}
			cell.Short = f.Short && i == 0
			cells = append(cells, cell)
		}
	}
	return cells
}

// Select returns the cells whose ID a pattern matches; with short, only those of the selection for every day.
func Select(cells []Cell, pattern *regexp.Regexp, short bool) (selected []Cell) {
	for _, c := range cells {
		if pattern.MatchString(c.ID()) && (c.Short || !short) {
			selected = append(selected, c)
		}
	}
	return selected
}

// pair does two faults at once.
func pair(a, b Fault) Fault {
	f := Fault{Name: a.Name + " + " + b.Name, Setup: a.Setup.merge(b.Setup), Quiet: a.Quiet && b.Quiet}
	f.Do = func(ctx context.Context, s *Stage) error {
		var both sync.WaitGroup
		var errA, errB error
		both.Go(func() { errA = a.Do(ctx, s) })
		both.Go(func() { errB = b.Do(ctx, s) })
		both.Wait()
		if errA != nil {
			return errA
		}
		return errB
	}
	return f
}
