package suite

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryRequirementOfTheProtocolIsTriedAndNoOther(t *testing.T) {
	b, err := newBoard(nil)
	if err != nil {
		t.Fatal(err)
	}
	var tried []string
	for _, c := range Checks() {
		tried = append(tried, c.Of...)
	}
	for _, id := range b.order {
		if !slices.Contains(tried, id) {
			t.Errorf("no check tries %s: %s", id, b.found[id].Text)
		}
	}
	for _, id := range tried {
		if b.found[id] == nil {
			t.Errorf("a check tries %s, which docs/protocol.md does not have", id)
		}
	}
}

func TestChecksHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Checks() {
		if seen[c.Name] || c.Name == "" || c.Run == nil || len(c.Of) == 0 {
			t.Errorf("check %q", c.Name)
		}
		seen[c.Name] = true
	}
}

func TestRequirementFailsWithItsCheck(t *testing.T) {
	b, err := newBoard(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &World{board: b}
	try := func(c Check) {
		newT(t.Context(), w, c).try()
	}
	try(Check{Name: "kept", Of: []string{"P-1"}, Run: func(t *T) { t.Is("P-1", true, "good") }})
	try(Check{Name: "broken after it was kept", Of: []string{"P-2"}, Run: func(t *T) { t.Is("P-2", true, "good"); t.Is("P-2", false, "bad"); t.Is("P-2", true, "good") }})
	try(Check{Name: "ended early", Of: []string{"P-3"}, Run: func(t *T) { t.Is("P-3", true, "good"); t.Fatalf("no more") }})
	try(Check{Name: "without a word", Of: []string{"P-4"}, Run: func(*T) {}})
	try(Check{Name: "panics", Of: []string{"P-5"}, Run: func(*T) { panic("oh") }})
	cleaned := false
	try(Check{Name: "cleans up", Of: []string{"P-6"}, Run: func(t *T) { t.Cleanup(func() { cleaned = true }); t.Fatalf("gone") }})
	b.unseen(func(Need) string { return "" })
	for i, want := range []string{"passed good", "failed bad", "failed ended early: no more", "failed without a word: the check ended", "failed panics: the check itself failed: oh", "failed cleans up: gone", "left out"} {
		row := b.rows()[i]
		if got := row.Status() + " " + row.Seen; !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", row.ID, got, want)
		}
	}
	if !cleaned {
		t.Error("what was to be cleaned up was not")
	}
}
