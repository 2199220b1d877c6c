package suite

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warren-gateway/warren"
)

// board gathers what was seen of each requirement.
type board struct {
	mu       sync.Mutex // guards the rest
	progress io.Writer
	order    []string
	found    map[string]*Row
	ended    int
	total    int
}

// requirement is how docs/protocol.md numbers a requirement.
var requirement = regexp.MustCompile(`(?m)^- \*\*\[(P-[0-9]+)\]\*\* (.+)$`)

// newBoard reads the requirements from docs/protocol.md.
func newBoard(progress io.Writer) (*board, error) {
	b := &board{progress: progress, found: map[string]*Row{}}
	for _, m := range requirement.FindAllStringSubmatch(warren.Protocol, -1) {
		if b.found[m[1]] != nil {
			return nil, fmt.Errorf("docs/protocol.md numbers %s twice", m[1])
		}
		b.order = append(b.order, m[1])
		b.found[m[1]] = &Row{ID: m[1], Text: strings.NewReplacer("**", "", "`", "").Replace(m[2])}
	}
	if len(b.order) == 0 {
		return nil, fmt.Errorf("docs/protocol.md has no requirements")
	}
	return b, nil
}

func (b *board) expect(checks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total = checks
}

// note records what was seen of a requirement: the first that passed, or else the first that failed.
func (b *board) note(id string, ok bool, seen string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	row := b.found[id]
	if row == nil {
		panic("suite: docs/protocol.md has no " + id)
	}
	now := passed
	if !ok {
		now = failed
	}
	if now > row.status {
		row.status, row.Seen = now, seen
	}
}

// record takes over what a check has seen.
func (b *board) record(t *T, took time.Duration) {
	t.mu.Lock()
	trouble := slices.Clone(t.trouble)
	noted := t.noted
	t.mu.Unlock()
	for _, id := range t.check.Of {
		if !noted[id] && len(trouble) == 0 {
			trouble = append(trouble, "the check ended without a word on "+id)
		}
	}
	for _, id := range t.check.Of {
		if len(trouble) > 0 {
			b.note(id, false, t.check.Name+": "+trouble[0])
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended++
	if b.progress == nil {
		return
	}
	verdict := "passed"
	if t.failures > 0 || len(trouble) > 0 {
		verdict = "FAILED"
	}
	fmt.Fprintf(b.progress, "[%3d/%d] %5.1fs %s  %s\n", b.ended, b.total, took.Seconds(), verdict, t.check.Name)
	for _, what := range trouble {
		fmt.Fprintf(b.progress, "          %s\n", what)
	}
}

// unseen says of each requirement that no check tried why.
func (b *board) unseen(why func(Need) string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, row := range b.found {
		if row.status != leftOut {
			continue
		}
		row.Seen = "no check tries this"
		for _, c := range registry {
			if slices.Contains(c.Of, row.ID) {
				row.Seen = why(c.Needs)
			}
		}
	}
}

func (b *board) rows() []Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Row, 0, len(b.order))
	for _, id := range b.order {
		out = append(out, *b.found[id])
	}
	return out
}
