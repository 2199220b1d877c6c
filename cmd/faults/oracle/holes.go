package oracle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// hole is a run of messages of one source that did not come, between the items prev and next of a record.
type hole struct {
	view        *view
	first, last int
	prev, next  int // -1: before everything; len(items): after everything
}

func (h *hole) String() string {
	return fmt.Sprintf("%d to %d of %s (%d confirmed)", h.first, h.last, h.view.name, h.view.required(h.first, h.last))
}

// cover is a gap, or what else excuses that messages are missing.
type cover struct {
	what   string
	missed int64
	// The messages are missing between the items from and to; both are the same index for a gap in its place.
	from, to int
	since    Position // of a range: they are missing after this position
	ranged   bool
	exchange string // "" for all
	// window says that it is the time in which a binding was missing: it covers one run of each source, anywhere behind its
	// begin, because what was queued before it may come after its end.
	window bool
	// until is when it came: what was begun later it does not cover.
	until time.Duration
}

// forever is later than every time of a record.
const forever = time.Duration(1<<63 - 1)

// covers reports whether the messages of a hole may be missing at the cover.
func (c *cover) covers(items []Item, h *hole) bool {
	if c.exchange != "" && c.exchange != h.view.exchange {
		return false
	}
	if h.prev >= c.to || h.next <= c.from {
		return false
	}
	if !c.ranged || h.next > c.to {
		return true
	}
	next := &items[h.next]
	return next.Pos.Stream == c.since.Stream && next.Pos.Offset > c.since.Offset
}

// missing checks that what is missing is missing where gaps stand, with their counts.
func (c *check) missing() {
	holes := make([]hole, 0, len(c.items))
	for _, name := range c.record.sources {
		holes = append(holes, c.holes(name)...)
	}
	covers := c.covers()
	p := puzzle{check: c}
	for i, indexes := range c.coversOf(holes, covers) {
		p.add(&holes[i], covers, indexes)
	}
	p.solve(covers)
}

// holes returns what is missing of a source.
func (c *check) holes(name string) (holes []hole) {
	v := c.views[name]
	first := c.items[0]
	prev, newest := -1, v.beganBy(first.At) // what was begun before the first ready need not come
	began := false
	for i := range c.items {
		item := &c.items[i]
		if item.Kind != Run || item.Source != name {
			continue
		}
		if !began {
			newest = min(newest, item.First-1)
		}
		if item.First > newest+1 {
			holes = append(holes, hole{view: v, first: newest + 1, last: item.First - 1, prev: prev, next: i})
		}
		began = true
		prev, newest = i, max(newest, item.last())
	}
	if !c.record.ended && newest < v.last() {
		holes = append(holes, hole{view: v, first: newest + 1, last: v.last(), prev: prev, next: len(c.items)})
	}
	return holes
}

// covers returns all that excuses missing messages.
func (c *check) covers() (covers []cover) {
	open := make(map[string]int) // windows of missing bindings, by exchange: index into covers
	for i := range c.items {
		item := &c.items[i]
		switch item.Kind {
		case Gap:
			covers = append(covers, c.coverOf(i))
		case Fresh:
			covers = append(covers, cover{what: "a new subscription", missed: Unknown, from: i, to: i, until: c.readyAfter(i)})
		case Ready, Bindings:
			for _, exchange := range item.Missing {
				if _, ok := open[exchange]; !ok && c.announced(i) {
					open[exchange] = len(covers)
					covers = append(covers, cover{
						what: "missing binding", missed: Unknown, from: i, to: len(c.items), exchange: exchange, window: true, until: forever,
					})
				}
			}
			for exchange, k := range open {
				// A stream that goes on comes to the marker that closes the window, whatever its ready says.
				if (item.Kind == Bindings || !item.Resumed) && !slices.Contains(item.Missing, exchange) {
					covers[k].until = item.At
					delete(open, exchange)
				}
			}
		case Run:
		}
	}
	return covers
}

// announced reports whether a binding that is missing from the item on was announced: by a gap right before, or by a ready.
func (c *check) announced(i int) bool {
	return c.items[i].Kind == Ready || i > 0 && (c.items[i-1].Kind == Gap || c.items[i-1].Kind == Ready)
}

// coverOf returns what a gap covers.
func (c *check) coverOf(i int) cover {
	item := &c.items[i]
	g := cover{what: item.Reason + " " + item.Pos.String(), missed: item.Missed, from: i, to: i, until: item.At}
	switch item.Reason {
	case "queue_overflow":
		g.from, g.since, g.ranged = -1, item.Since, true
	case "evicted":
		// Its count includes what evicted gaps stood for, also where those were ranges that begin before what was evicted.
		for _, o := range c.overflows {
			if o.Pos.Stream == item.Pos.Stream && o.Pos.Offset <= item.Pos.Offset && i > 0 && o.Pos.Offset > c.items[i-1].Pos.Offset {
				g.from, g.since, g.ranged = -1, earlier(o.Since, g.since), true
			}
		}
	}
	return g
}

// earlier returns the earlier of two positions of a stream; the zero one is none.
func earlier(a, b Position) Position {
	if b == (Position{}) || a.Offset < b.Offset {
		return a
	}
	return b
}

func (c *check) readyAfter(i int) time.Duration {
	for ; i < len(c.items); i++ {
		if c.items[i].Kind == Ready {
			return c.items[i].At
		}
	}
	return forever
}

// coversOf returns the indexes of the covers of each hole.
func (c *check) coversOf(holes []hole, covers []cover) [][]int {
	indexes := make([][]int, len(holes))
	used := make(map[*view]map[int]bool) // windows that a hole of the source has taken
	for i := range holes {
		h := &holes[i]
		window := -1
		explained := false
		for k := range covers {
			switch {
			case !covers[k].covers(c.items, h):
			case !covers[k].window:
				indexes[i] = append(indexes[i], k)
				explained = explained || covers[k].missed == Unknown && covers[k].all(h)
			case window < 0 && !used[h.view][k] && covers[k].all(h):
				window = k
			}
		}
		if explained || window < 0 || h.view.required(h.first, h.last) == 0 {
			continue
		}
		// Holes and windows come in the same order, so that the earliest that fits is the one that others need least.
		if used[h.view] == nil {
			used[h.view] = make(map[int]bool)
		}
		used[h.view][window] = true
		indexes[i] = append(indexes[i], window)
	}
	return indexes
}

// all reports whether everything in a hole had begun when the cover came.
func (c *cover) all(h *hole) bool { return h.view.beganBy(c.until) >= h.last }

// part is a piece of a hole that the same covers may explain.
type part struct {
	hole        *hole
	first, last int
	covers      []int
}

func (p *part) required() int { return p.hole.view.required(p.first, p.last) }
func (p *part) size() int     { return p.last - p.first + 1 }

// puzzle is which gap stands for which missing messages.
type puzzle struct {
	*check
	parts []part
}

// add cuts a hole at the times of its covers, because each covers only what had begun by then.
func (p *puzzle) add(h *hole, covers []cover, indexes []int) {
	limit := func(k int) int { return h.view.beganBy(covers[k].until) }
	cuts := []int{h.last}
	for _, k := range indexes {
		if n := limit(k); n >= h.first && n < h.last {
			cuts = append(cuts, n)
		}
	}
	slices.Sort(cuts)
	first := h.first
	for _, last := range slices.Compact(cuts) {
		piece := part{hole: h, first: first, last: last}
		for _, k := range indexes {
			if limit(k) >= last {
				piece.covers = append(piece.covers, k)
			}
		}
		p.parts = append(p.parts, piece)
		first = last + 1
	}
}

// solve finds a distribution, or tells of each independent piece of the puzzle that has none.
func (p *puzzle) solve(covers []cover) {
	groups := newGroups(len(p.parts) + len(covers))
	for i := range p.parts {
		for _, k := range p.parts[i].covers {
			groups.join(i, len(p.parts)+k)
		}
	}
	for _, members := range groups.all() {
		var parts []*part
		var gaps []int
		for _, m := range members {
			if m < len(p.parts) {
				parts = append(parts, &p.parts[m])
			} else {
				gaps = append(gaps, m-len(p.parts))
			}
		}
		if !fits(parts, gaps, covers) {
			p.problem("%s", explain(parts, gaps, covers))
		}
	}
}

// explain says what does not add up.
func explain(parts []*part, gaps []int, covers []cover) string {
	missing, stand := make([]string, 0, len(parts)), make([]string, 0, len(gaps))
	for _, p := range parts {
		missing = append(missing, fmt.Sprintf("%d to %d of %s (%d confirmed)", p.first, p.last, p.hole.view.name, p.required()))
	}
	for _, k := range gaps {
		count := "no count"
		if covers[k].missed != Unknown {
			count = fmt.Sprintf("missed %d", covers[k].missed)
		}
		stand = append(stand, fmt.Sprintf("%s (%s)", covers[k].what, count))
	}
	switch {
	case len(gaps) == 0:
		return "missing without a gap: " + strings.Join(missing, ", ")
	case len(parts) == 0:
		return "nothing is missing where a gap stands: " + strings.Join(stand, ", ")
	}
	return "missing " + strings.Join(missing, ", ") + " does not add up to " + strings.Join(stand, ", ")
}
