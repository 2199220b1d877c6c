package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Head says under which conditions a report came about, one line each.
type Head []string

// Markdown writes all tables.
func (r *Report) Markdown(head Head, plot string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, line := range head {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, note := range r.notes {
		fmt.Fprintf(&b, "- not measured: %s\n", note)
	}
	if plot != "" {
		fmt.Fprintf(&b, "\n![the figures below as bars](%s)\n", plot)
	}
	r.goalTable(&b)
	for _, s := range r.scenarios {
		fmt.Fprintf(&b, "\n### (%s) %s\n\n%s\n\n", s.ID, s.Title, s.Notes)
		r.table(&b, s.ID)
	}
	return b.String()
}

func (r *Report) goalTable(b *strings.Builder) {
	if len(r.goals) == 0 {
		return
	}
	b.WriteString("\n### What was to be shown\n\n| | goal | limit | measured | |\n| --- | --- | --- | --- | --- |\n")
	for _, g := range r.goals {
		verdict, text, limit, value := "met", g.text, g.bound(), number(median(g.values))
		if !g.met() {
			verdict = "**missed**"
		}
		if g.or != nil {
			text += ", or " + g.or.text
			limit += ", or " + g.or.bound()
			value += ", " + number(median(g.or.values))
		}
		fmt.Fprintf(b, "| (%s) | %s | %s | %s | %s |\n", g.scenario, text, limit, value, verdict)
	}
}

// bound writes the limit with its direction.
func (g *goal) bound() string {
	if g.atMost {
		return "≤ " + number(g.limit)
	}
	return "≥ " + number(g.limit)
}

// rowsAndMetrics answers the rows and columns of a scenario's table, in the order of their first appearance.
func (r *Report) rowsAndMetrics(scenario string) (rows [][2]string, metrics []string) {
	for _, k := range r.order {
		if k.scenario != scenario {
			continue
		}
		if row := [2]string{k.group, k.server}; !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
		if !slices.Contains(metrics, k.metric) {
			metrics = append(metrics, k.metric)
		}
	}
	return rows, metrics
}

func (r *Report) table(b *strings.Builder, scenario string) {
	rows, metrics := r.rowsAndMetrics(scenario)
	if len(rows) == 0 {
		b.WriteString("Nothing was measured.\n")
		return
	}
	fmt.Fprintf(b, "| | | %s |\n| --- | --- |%s\n", strings.Join(metrics, " | "), strings.Repeat(" ---: |", len(metrics)))
	last := ""
	for _, row := range rows {
		group := row[0]
		if group == last {
			group = ""
		}
		last = row[0]
		fmt.Fprintf(b, "| %s | %s |", group, row[1])
		for _, m := range metrics {
			fmt.Fprintf(b, " %s |", cell(r.values[key{scenario, row[0], row[1], m}]))
		}
		b.WriteString("\n")
	}
}

// cell is the median, with the lowest and the highest where there are several and they differ by more than a tenth.
func cell(values []float64) string {
	const worthTelling = 0.1
	if len(values) == 0 {
		return ""
	}
	m := median(values)
	low, high := slices.Min(values), slices.Max(values)
	if len(values) == 1 || high-low <= math.Abs(m)*worthTelling {
		return number(m)
	}
	return fmt.Sprintf("%s (%s–%s)", number(m), number(low), number(high))
}

// number writes three digits that matter, and thousands with commas.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		return thousands(int64(math.Round(v)))
	case a >= 100, v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
