package report

import (
	"slices"
	"sync"
)

// Scenario says what a table shows.
type Scenario struct {
	ID    string // "a"
	Title string
	Notes string // how the numbers come about, Markdown
	Plot  string // the metric that is plotted; empty: none
}

// key names a figure.
type key struct{ scenario, group, server, metric string }

// Report holds all figures of all runs.
type Report struct {
	mu        sync.Mutex // guards the rest
	scenarios []Scenario
	order     []key
	values    map[key][]float64
	goals     []*goal
	notes     []string
}

// New makes an empty report.
func New() *Report { return &Report{values: map[key][]float64{}} }

// Recorder takes the figures of one scenario.
type Recorder struct {
	report *Report
	id     string
}

// Begin adds a scenario, unless it is there from an earlier run.
func (r *Report) Begin(s Scenario) *Recorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.scenarios, func(other Scenario) bool { return other.ID == s.ID }) {
		r.scenarios = append(r.scenarios, s)
	}
	return &Recorder{report: r, id: s.ID}
}

// Note adds a remark on what could not be measured.
func (r *Report) Note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

// Add records a figure of this run: a row is a group (a size, a number of readers) and a server, a column is a metric.
func (c *Recorder) Add(group, server, metric string, value float64) {
	c.report.mu.Lock()
	defer c.report.mu.Unlock()
	k := key{c.id, group, server, metric}
	if _, known := c.report.values[k]; !known {
		c.report.order = append(c.report.order, k)
	}
	c.report.values[k] = append(c.report.values[k], value)
}

// goal is something that is to be shown.
type goal struct {
	scenario, text string
	limit          float64
	atMost         bool
	values         []float64
	or             *goal // what suffices as well
}

// AtLeast records for a goal that the value should be no less than the limit.
func (c *Recorder) AtLeast(text string, value, limit float64) { c.goal(text, value, limit, false) }

// AtMost records for a goal that the value should be no more than the limit.
func (c *Recorder) AtMost(text string, value, limit float64) { c.goal(text, value, limit, true) }

// AtLeastOrAtMost records a goal that is met if one value is no less than its limit, or else the other no more than its own.
func (c *Recorder) AtLeastOrAtMost(text string, value, limit float64, other string, otherValue, otherLimit float64) {
	g := c.goal(text, value, limit, false)
	c.report.mu.Lock()
	defer c.report.mu.Unlock()
	if g.or == nil {
		g.or = &goal{scenario: c.id, text: other, limit: otherLimit, atMost: true}
	}
	g.or.values = append(g.or.values, otherValue)
}

func (c *Recorder) goal(text string, value, limit float64, atMost bool) *goal {
	c.report.mu.Lock()
	defer c.report.mu.Unlock()
	for _, g := range c.report.goals {
		if g.scenario == c.id && g.text == text {
			g.values = append(g.values, value)
			return g
		}
	}
	g := &goal{scenario: c.id, text: text, limit: limit, atMost: atMost, values: []float64{value}}
	c.report.goals = append(c.report.goals, g)
	return g
}

// met tells whether the median is within the limit, or what suffices as well is.
func (g *goal) met() bool {
	if g.or != nil && g.or.met() {
		return true
	}
	if g.atMost {
		return median(g.values) <= g.limit
	}
	return median(g.values) >= g.limit
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
