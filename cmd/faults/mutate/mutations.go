package main

// mutation is a mistake that somebody could make, and a cell of the matrix that must notice it.
type mutation struct {
	name string
	file string
	// old stands once in the file; mistake takes its place.
	old, mistake string
	cell         string // regular expression
}

// mutations are what the fault matrix is proven with. Each compiles.
var mutations = []mutation{
	{
		name: "ack forgotten", file: "broker/rabbitmq/acks.go", cell: "^connection closed by the broker × by query",
		old:     "_ = x.ch.Ack(l.acked, true)",
		mistake: "_ = l.acked",
	},
	{
		name: "redelivered message appended", file: "broker/rabbitmq/incarnation.go", cell: "^messages redelivered × by query",
		old:     "if redelivered { //",
		mistake: "if redelivered && tag == 0 { //",
	},
	{
		name: "flush forgotten", file: "broker/rabbitmq/deliveries.go", cell: "^connection closed by the broker × by query",
		old:     "\t\tinc.q.flush()\n",
		mistake: "",
	},
	{
		name: "offset used again", file: "broker/pump.go", cell: "^clients' network cut × by query",
		old:     "\tp.pending = append(p.pending, f)\n\tp.next++\n",
		mistake: "\tp.pending = append(p.pending, f)\n\tif f.kind != KindMessage || len(p.pending) > 1 || time.Now().UnixNano()%64 != 0 {\n\t\tp.next++\n\t}\n",
	},
	{
		name: "wake lost", file: "broker/pump.go", cell: "^(connection closed|channel closed|consumer cancelled).* × by ", // a ping may come in time for one
		old:     "for _, a := range waiters {\n\t\ta.signal()",
		mistake: "for _, a := range waiters[1:] {\n\t\ta.signal()",
	},
	{
		name: "count of a gap off by one", file: "broker/attachment.go", cell: "^readers stall within the write timeout × by query",
		old:     "g.missed = r.tally.between(a.pos, before)",
		mistake: "g.missed = r.tally.between(a.pos, before) + 1",
	},
	{
		name: "evicted without a gap", file: "broker/attachment.go", cell: "^readers stall within the write timeout × by query",
		old:     "if g.missed != 0 {",
		mistake: "if g.missed != 0 && g.reason != GapEvicted {",
	},
	{
		name: "recovery without a gap", file: "broker/pump.go", cell: "^(connection|channel) closed by the broker × by query",
		old:     "\t\tp.gap(gap{reason: ev.Reason, missed: unknownCount})\n",
		mistake: "",
	},
	{
		name: "binding lost without a gap", file: "broker/pump.go", cell: "^exchange made again, with events × by query",
		old:     "\t\t\tp.gap(gap{reason: GapBindingLost, missed: unknownCount})\n",
		mistake: "",
	},
	{
		name: "overflow without a gap", file: "broker/pump.go", cell: "^gateway stands still until the queue overflows × by query",
		old:     "\t\tp.gap(gap{reason: GapQueueOverflow, missed: ev.Missed, since: p.positionAt(ev.Since)})\n",
		mistake: "",
	},
	{
		name: "overflow counted twice", file: "broker/rabbitmq/deadletters.go", cell: "^gateway stands still until the queue overflows × by query",
		old:     "owner.q.deadLetter(1, ",
		mistake: "owner.q.deadLetter(2, ",
	},
	{
		name: "range of an overflow too short", file: "broker/pump.go", cell: "^gateway stands still until the queue overflows × by query",
		old:     "p.sub.timeline.before(at, p.sub.log.newest)",
		mistake: "p.sub.timeline.before(at.Add(time.Hour), p.sub.log.newest)",
	},
	{
		name: "resumed one too late", file: "broker/attachment.go", cell: "^clients' network cut × by query",
		old:     "\t\ta.pos = after.Offset\n",
		mistake: "\t\ta.pos = min(after.Offset+1, r.newest)\n",
	},
	{
		name: "resumed one too early", file: "broker/attachment.go", cell: "^clients' network cut × by id",
		old:     "\t\ta.pos = after.Offset\n",
		mistake: "\t\ta.pos = max(after.Offset, 1) - 1\n",
	},
	{
		name: "message twice after a change of transport", file: "broker/attachment.go", cell: "^clients' network cut × by query",
		old:     "\t\ta.pos = after.Offset\n",
		mistake: "\t\ta.pos = after.Offset\n\t\tif a.transport == WS && a.sub.attached[SSE] > 0 {\n\t\t\ta.pos = max(after.Offset, 1) - 1\n\t\t}\n",
	},
}
