package oracle

import (
	"cmp"
	"fmt"
	"slices"
)

// maxProblems bounds what is told of one record.
const maxProblems = 8

// Verdict is the outcome of a check.
type Verdict struct {
	// Problems is empty when the records are accepted. Each begins with the client's name.
	Problems []string
	// Messages is how many messages all clients got together.
	Messages int
	// Gaps is how many gaps of each reason they got.
	Gaps map[string]int
}

// Accepted reports whether there is no problem.
func (v *Verdict) Accepted() bool { return len(v.Problems) == 0 }

// Check holds records against what was published. Publishers and clients have ended, or at least paused.
func (t *Truth) Check(records ...*Record) Verdict {
	verdict := Verdict{Gaps: make(map[string]int)}
	views := make(map[string]*view)
	t.mu.Lock()
	for name, s := range t.sources {
		views[name] = s.view()
	}
	t.mu.Unlock()
	all := make([]span, 0, 16*len(records))
	overflows := overflows(records)
	for _, r := range records {
		r.mu.Lock()
		c := &check{views: views, overflows: overflows, record: r, items: r.items, problems: slices.Clone(r.trouble)}
		c.run()
		verdict.Messages += r.messages
		all = append(all, spans(c.items)...)
		r.mu.Unlock()
		for reason, n := range r.Gaps() {
			verdict.Gaps[reason] += n
		}
		for _, p := range c.problems {
			verdict.Problems = append(verdict.Problems, r.name+": "+p)
		}
	}
	verdict.Problems = append(verdict.Problems, contradictions(all)...)
	return verdict
}

// check is the check of one record, whose mutex is held.
type check struct {
	views     map[string]*view
	overflows []Item // of all records: what one has lost by eviction another may have seen
	record    *Record
	items     []Item
	problems  []string
}

// overflows returns all gaps that are ranges.
func overflows(records []*Record) (out []Item) {
	for _, r := range records {
		for _, item := range r.Items() {
			if item.Kind == Gap && item.Reason == "queue_overflow" {
				out = append(out, item)
			}
		}
	}
	return out
}

func (c *check) run() {
	if len(c.items) == 0 {
		c.problem("nothing came at all")
		return
	}
	c.sequence()
	if len(c.problems) == 0 {
		c.missing() // after a broken order, every count would be wrong too
	}
}

func (c *check) problem(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Sprintf(format, args...))
	}
}

// order is what sequence knows at one point of a record.
type order struct {
	*check
	at      Position       // the newest id
	newest  map[string]int // numbers
	owesGap bool           // a ready that did not resume comes with a gap
	ownGap  bool           // the item before was a gap of the reader's own, or the ready
}

// sequence checks ids and numbers, item by item.
func (c *check) sequence() {
	o := &order{check: c, newest: make(map[string]int)}
	for i := range c.items {
		item := &c.items[i]
		switch item.Kind {
		case Ready:
			o.ready(item)
			continue
		case Run:
			o.run(item)
		case Gap:
			o.gap(item)
			continue
		case Bindings:
			o.bindings(item)
		case Fresh:
			o.at = Position{}
		}
		o.ownGap = false
	}
}

func (o *order) ready(item *Item) {
	if item.Asked == "" && item.Pos == (Position{}) {
		o.problem("a ready without an id")
	}
	if item.Asked != "" && item.Pos.String() != item.Asked {
		o.problem("ready says %s to a client that asked for %s", item.Pos, item.Asked)
	}
	if item.Resumed && item.Asked == "" {
		o.problem("a stream without a position was resumed at %s", item.Pos)
	}
	if item.Asked != "" && item.Asked != o.at.String() {
		o.problem("the client comes back for %s, but the newest it has got is %s", item.Asked, o.at)
	}
	o.at = item.Pos
	o.owesGap = item.Asked != "" && !item.Resumed
	o.ownGap = true
}

// follows checks that the item's id is the next one.
func (o *order) follows(item *Item, what string) {
	if o.owesGap {
		o.problem("%s %s comes after a ready that did not resume, without a gap", what, item.Pos)
		o.owesGap = false
	}
	switch {
	case item.Pos.Stream != o.at.Stream:
		o.problem("%s %s comes right after %s", what, item.Pos, o.at)
	case item.Pos.Offset <= o.at.Offset:
		o.problem("%s %s comes after %s: twice, or in the wrong order", what, item.Pos, o.at)
	case item.Pos.Offset > o.at.Offset+1:
		o.problem("%s %s comes right after %s: offsets are left out", what, item.Pos, o.at)
	}
	o.at = item.Pos
}

func (o *order) run(item *Item) {
	o.follows(item, "message")
	o.at.Offset = item.Pos.Offset + uint64(item.Count) - 1
	v := o.views[item.Source]
	switch {
	case v == nil || !slices.Contains(o.record.sources, item.Source):
		o.problem("a message of %q, which it does not listen to", item.Source)
	case item.First < 1 || item.last() > v.last():
		o.problem("message %d of %s was never published", item.last(), item.Source)
	case item.First <= o.newest[item.Source]:
		o.problem("message %d of %s (%s) comes after %d: twice, or in the wrong order", item.First, item.Source, item.Pos, o.newest[item.Source])
	}
	o.newest[item.Source] = max(o.newest[item.Source], item.last())
}

func (o *order) gap(item *Item) {
	switch item.Reason {
	case "evicted":
		if o.owesGap || item.Pos.Stream != o.at.Stream || item.Pos.Offset <= o.at.Offset {
			o.problem("gap evicted %s comes after %s", item.Pos, o.at)
		}
		o.at, o.ownGap = item.Pos, true
	case "subscription_lost", "unknown_position":
		if !o.owesGap {
			o.problem("gap %s %s comes where no position was lost", item.Reason, item.Pos)
		}
		o.at, o.owesGap, o.ownGap = item.Pos, false, true
	default:
		o.follows(item, "gap "+item.Reason)
		o.ownGap = false
	}
	if item.Missed != Unknown && item.Missed < 1 {
		o.problem("gap %s %s counts %d", item.Reason, item.Pos, item.Missed)
	}
}

// bindings takes the place of a marker that was evicted, under the position it has then, or has the next id.
func (o *order) bindings(item *Item) {
	if o.ownGap && item.Pos.Stream == o.at.Stream && item.Pos.Offset >= o.at.Offset {
		o.at = item.Pos
		return
	}
	o.follows(item, "bindings")
}

// span is what one reader got under consecutive ids of a stream.
type span struct {
	stream      string
	first, last uint64
	what        string // the source, or the kind of event
	delta       int64  // number minus offset
}

// spans returns what the ids of a record stand for. A gap of the reader's own has the id of another event.
func spans(items []Item) []span {
	out := make([]span, 0, len(items))
	for i := range items {
		item := &items[i]
		s := span{stream: item.Pos.Stream, first: item.Pos.Offset, last: item.Pos.Offset}
		switch {
		case item.Kind == Run:
			s.last += uint64(item.Count) - 1
			s.what, s.delta = item.Source, int64(item.First)-int64(item.Pos.Offset)
		case item.Kind == Gap && !ownGap(item.Reason):
			s.what = fmt.Sprintf("gap %s, missed %d", item.Reason, item.Missed)
		default:
			continue
		}
		out = append(out, s)
	}
	return out
}

func ownGap(reason string) bool {
	return reason == "evicted" || reason == "subscription_lost" || reason == "unknown_position"
}

// contradictions finds ids that stand for two things.
func contradictions(all []span) (problems []string) {
	slices.SortFunc(all, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last))
	})
	var widest span
	for _, s := range all {
		if s.stream == widest.stream && s.first <= widest.last {
			if (s.what != widest.what || s.delta != widest.delta) && len(problems) < maxProblems {
				problems = append(problems, fmt.Sprintf("all: %s.%d stands for two things: %s and %s",
					s.stream, s.first, s.describe(), widest.describe()))
			}
			if s.last <= widest.last {
				continue
			}
		}
		widest = s
	}
	return problems
}

func (s span) describe() string {
	return fmt.Sprintf("%s (%d at %d to %d)", s.what, s.delta+int64(s.first), s.first, s.last)
}
