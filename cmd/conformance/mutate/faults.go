package main

// fault is a mistake that is planted into a copy of the gateway's source.
type fault struct {
	Name   string
	Breaks []string // requirements, of which at least one must be reported as broken
	Edits  []edit
	Args   map[string]float64 // bounds of the gateway, so that nothing has to be waited for
}

// edit replaces a text that must stand in the file exactly once.
type edit struct{ File, Old, New string }

// one is the edit of a fault that needs no more.
func one(file, old, with string) []edit { return []edit{{file, old, with}} }

// impatient are bounds for faults that show when a reader takes nothing.
var impatient = map[string]float64{"write-timeout": 8}

// faults are the planted mistakes.
var faults = []fault{
	{
		Name: "ids that skip", Breaks: []string{"P-57", "P-81"},
		Edits: one("broker/pump.go", "p.pending = append(p.pending, f)\n\tp.next++", "p.pending = append(p.pending, f)\n\tp.next += 2"),
	},
	{
		Name: "a silent gap", Breaks: []string{"P-96", "P-97", "P-122"}, Args: impatient,
		Edits: one("broker/attachment.go", "if g.missed != 0 { //", "if g.missed != 0 && a.lost { //"),
	},
	{
		Name: "ready before bind-ok", Breaks: []string{"P-33", "P-2"},
		Edits: []edit{
			{
				"broker/memory/broker.go", "\tif err := b.bind(q, spec.Bindings); err != nil {\n\t\treturn nil, err\n\t}\n\tb.queues[q]",
				"\ttime.AfterFunc(300*time.Millisecond, func() { b.mu.Lock(); defer b.mu.Unlock(); _ = b.bind(q, spec.Bindings) })\n\tb.queues[q]",
			},
			{"broker/memory/broker.go", "\t\"sync/atomic\"\n", "\t\"sync/atomic\"\n\t\"time\"\n"},
		},
	},
	{
		Name: "ready without id", Breaks: []string{"P-35", "P-60"},
		Edits: one("broker/frame.go", "w.begin(KindReady, id)", "w.begin(KindReady, Position{})"),
	},
	{
		Name: "ready that does not repeat the position given", Breaks: []string{"P-101"},
		Edits: one("broker/attachment.go", "\t\tid = a.start.After\n", "\t\tid.Offset = a.pos\n"),
	},
	{
		Name: "a wrong close code", Breaks: []string{"P-149", "P-23"},
		Edits: one("transport/close.go", "{ReasonSubscriptionDeleted, 4410, false}", "{ReasonSubscriptionDeleted, 4404, false}"),
	},
	{
		Name: "503 and 429 to an EventSource", Breaks: []string{"P-140"},
		Edits: one("api/refuse.go", "canPass(err.Code) && acceptsEvents(r):", "canPass(err.Code) && acceptsEvents(r) && r.ContentLength > 0:"),
	},
	{
		Name: "no id: line on a gap", Breaks: []string{"P-78"},
		Edits: one("broker/frame.go", "\tif !id.IsZero() {\n\t\tb = append(b, \"id: \"...)", "\tif !id.IsZero() && kind != KindGap {\n\t\tb = append(b, \"id: \"...)"),
	},
	{
		Name: "a gap's id that is one too high", Breaks: []string{"P-100", "P-69"},
		Edits: one("broker/attachment.go", "id := Position{Stream: s.stream, Offset: before}", "id := Position{Stream: s.stream, Offset: before + 1}"),
	},
	{
		Name: "a shared stream that starts at the oldest", Breaks: []string{"P-53"},
		Edits: one("broker/attachment.go", "\t\tif a.sub.Shared() {\n\t\t\tfrom = FromLatest", "\t\tif a.sub.Shared() {\n\t\t\tfrom = FromEarliest"),
	},
	{
		Name: "a count of missed messages that is off by one", Breaks: []string{"P-96", "P-98"}, Args: impatient,
		Edits: one("broker/log.go", "return int64(upTo-after) + b.extra - a.extra", "return int64(upTo-after) + b.extra - a.extra + 1"),
	},
	{
		Name: "binding markers that count as messages", Breaks: []string{"P-98"}, Args: impatient,
		Edits: one("broker/pump.go", "p.note(0)", "p.note(1)"),
	},
	{
		Name: "an evicted binding marker that is not repeated", Breaks: []string{"P-107"}, Args: impatient,
		Edits: one("broker/attachment.go", "if r.marker.offset > a.pos {", "if r.marker.offset > r.newest {"),
	},
	{
		Name: "no Retry-After", Breaks: []string{"P-138", "P-180"},
		Edits: one("api/refuse.go", "\tif err.RetryAfter > 0 {\n\t\th.Set(\"Retry-After\"", "\tif err.RetryAfter < 0 {\n\t\th.Set(\"Retry-After\""),
	},
	{
		Name: "no bindings frame after a bind", Breaks: []string{"P-110"},
		Edits: one("broker/pump.go", "\tp.marker()\n\tp.flush()\n}", "\tp.flush()\n}"),
	},
	{
		Name: "a pause that is not honoured", Breaks: []string{"P-121", "P-126"},
		Edits: one("broker/attachment.go", "if a.paused || s.paused || a.holds > 0 {", "if a.holds > 0 {"),
	},
	{
		Name: "no retry: line on bye", Breaks: []string{"P-143"},
		Edits: one("broker/frame.go", `w.raw("event: bye\nretry: " + retry + "\n")`, `w.raw("event: bye\n")`),
	},
	{
		Name: "a resumed stream that repeats an event", Breaks: []string{"P-47", "P-58"},
		Edits: one("broker/attachment.go", "\t\ta.pos = after.Offset\n", "\t\ta.pos = max(after.Offset, r.first) - 1\n"),
	},
	{
		Name: "a malformed Last-Event-ID that is ignored", Breaks: []string{"P-55", "P-64"},
		Edits: one("api/query.go", "\t\tp.given = true\n\t\tp.position, _ = broker.ParsePosition(header)", "\t\tp.position, _ = broker.ParsePosition(header)\n\t\tp.given = !p.position.IsZero()"),
	},
	{
		Name: "a WebSocket that is refused without a handshake", Breaks: []string{"P-148", "P-46"},
		Edits: one("api/refuse.go", "kind == endpointWS && transport.CheckUpgrade(r) == nil:", "kind == endpointWS && transport.CheckUpgrade(r) != nil:"),
	},
	{
		Name: "share=false that shares", Breaks: []string{"P-73"},
		Edits: one("api/query.go", "case q.get(\"share\") == \"false\":\n\t\treturn false, nil", "case q.get(\"share\") == \"false\":\n\t\treturn true, nil"),
	},
	{
		Name: "a misspelt parameter that is passed over", Breaks: []string{"P-44"},
		Edits: one("api/query.go", "if !slices.Contains(known, name) {", "if !slices.Contains(known, name) && name == \"\" {"),
	},
	{
		Name: "pings that do not come", Breaks: []string{"P-155"}, Args: map[string]float64{"heartbeat": 1},
		Edits: one("transport/stream.go", "if len(b.frames) == 0 && now >= st.srv.wheel.early(&st.lastSent) {", "if len(b.frames) != 0 && now >= st.srv.wheel.early(&st.lastSent) {"),
	},
	{
		Name: "payload=raw that inlines", Breaks: []string{"P-92"},
		Edits: one("broker/payload.go", "if mode != PayloadRaw && isJSONType(", "if isJSONType("),
	},
	{
		Name: "a member that is renamed", Breaks: []string{"P-82", "P-76"},
		Edits: one("broker/frame.go", "w.raw(`,\"routing_key\":`)\n\tw.string(m.RoutingKey)", "w.raw(`,\"routingKey\":`)\n\tw.string(m.RoutingKey)"),
	},
	{
		Name: "a foreign origin that is let in", Breaks: []string{"P-158"},
		Edits: one("api/origin.go", "case len(given) == 1 && !o.allows(r, given[0]):", "case len(given) == 1 && given[0] == \"\":"),
	},
}
