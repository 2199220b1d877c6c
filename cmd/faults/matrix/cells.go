package matrix

import (
	"regexp"
	"slices"

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

// scripted is the set of clients that are written in JavaScript.
const scripted = "JavaScript"

// NeedsScripts reports whether the cell needs what client.CanScript looks for.
func (c *Cell) NeedsScripts() bool { return c.Clients == scripted }

// forScripts are the faults that clients in JavaScript suffer, too.
var forScripts = []string{
	"connection closed by the broker", "queue deleted", "exchange made again, with events", "broker killed",
	"clients' network cut", "clients' network swallows", "clients' network lossy",
	"gateway stands still until the queue overflows", "gateway killed", "gateway replaced under load", "flood above the log",
}

// forHTTP2 are the faults that clients over HTTP/2 suffer, too: there the gateway writes on another way.
var forHTTP2 = []string{
	"connection closed by the broker", "clients' network cut", "clients' network lossy", "readers stall within the write timeout",
	"readers stall beyond the write timeout", "gateway killed", "gateway replaced under load", "gateway stands still until the queue overflows",
}

// Cells returns the whole matrix.
func Cells() []Cell {
	faults := slices.Concat(brokerFaults(), nodeFaults(), brokerNetworkFaults(), clientNetworkFaults(), readerFaults(), gatewayFaults())
	cells := make([]Cell, 0, 100)
	for _, f := range faults {
		for i, set := range sets {
			cell := Cell{Fault: f, Clients: set.name, Kinds: set.kinds}
			cell.Short = f.Short && i == 0
			cells = append(cells, cell)
		}
	}
	for _, name := range forHTTP2 {
		i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
		cell := Cell{Fault: faults[i], Clients: "HTTP/2", Kinds: []client.Kind{client.SSEQuery, client.SSEID, client.SwitchQuery}}
		cell.Setup.TLS, cell.Short = true, false
		cells = append(cells, cell)
	}
	for _, f := range bindingFaults() {
		cells = append(cells, Cell{Fault: f, Clients: "by id", Kinds: []client.Kind{client.SSEID, client.WSID, client.SwitchID}})
	}
	for _, name := range forScripts {
		i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
		cell := Cell{Fault: faults[i], Clients: scripted, Kinds: []client.Kind{client.JS, client.EventSource}}
		cell.Short = false
		cells = append(cells, cell)
	}
	for _, f := range pairs(faults) {
		cells = append(cells, Cell{Fault: f, Clients: "mixed", Kinds: []client.Kind{client.SSEQuery, client.WSID, client.SwitchQuery, client.ListenSSE}})
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
