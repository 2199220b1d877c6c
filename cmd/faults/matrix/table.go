package matrix

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const tableFormat = "%s %4d %6d %9d  %s  %6s  %s\n"

// Table prints results as they come.
type Table struct {
	out   io.Writer
	width int
	// Total sums up.
	Cells, Rejected, Faults, Messages int
	gaps                              map[string]int
}

// NewTable prints the head of a table for these cells.
func NewTable(out io.Writer, cells []Cell) *Table {
	t := &Table{out: out, width: 20, gaps: make(map[string]int)}
	for _, c := range cells {
		t.width = max(t.width, utf8.RuneCountInString(c.ID()))
	}
	fmt.Fprintf(out, "%s runs faults  messages  %s    took  verdict\n", pad("cell", t.width), pad("gaps", gapsWidth))
	return t
}

// gapsWidth is enough for two reasons.
const gapsWidth = 42

// Add prints a result.
func (t *Table) Add(r Result) {
	verdict := "accepted"
	if !r.Accepted() {
		verdict = "REJECTED"
		t.Rejected++
	}
	t.Cells++
	t.Faults += r.Faults
	t.Messages += r.Messages
	for reason, n := range r.Gaps {
		t.gaps[reason] += n
	}
	fmt.Fprintf(t.out, tableFormat, pad(r.Cell.ID(), t.width), r.Runs, r.Faults, r.Messages, pad(gapsText(r.Gaps), gapsWidth),
		r.Took.Round(100*time.Millisecond), verdict)
	for _, p := range r.Problems {
		fmt.Fprintf(t.out, "    %s\n", p)
	}
}

// Sum prints the end.
func (t *Table) Sum(took time.Duration) {
	fmt.Fprintf(t.out, "%d cells, %d rejected, %d faults, %d messages, gaps: %s, in %v\n",
		t.Cells, t.Rejected, t.Faults, t.Messages, gapsText(t.gaps), took.Round(time.Second))
}

func gapsText(gaps map[string]int) string {
	if len(gaps) == 0 {
		return "none"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(gaps)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, gaps[reason]))
	}
	return strings.Join(parts, ", ")
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
