package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample() *Report {
	r := New()
	for run := range 3 {
		rec := r.Begin(Scenario{ID: "a", Title: "Things", Notes: "How.", Plot: "things/s"})
		rec.Add("256 B", "warren SSE", "things/s", []float64{1_000_000, 3_000_000, 1_234_567}[run])
		rec.Add("256 B", "Nchan SSE", "things/s", 1000)
		rec.Add("256 B", "Nchan SSE", "µs", 0.5)
		rec.AtLeast("ratio", []float64{1, 5, 5}[run], 4)
		rec.AtMost("cost", 2, 1)
	}
	return r
}

func TestTablesHaveMediansAndExtremes(t *testing.T) {
	text := sample().Markdown(Head{"here"}, "")
	for _, want := range []string{
		"- here\n",
		"| 256 B | warren SSE | 1,234,567 (1,000,000–3,000,000) |  |\n",
		"|  | Nchan SSE | 1,000 | 0.50 |\n",
		"| (a) | ratio | ≥ 4 | 5 | met |\n",
		"| (a) | cost | ≤ 1 | 2 | **missed** |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestPageKeepsWhatIsOutsideOfTheMarks(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sample().Write(page, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "before\n"+beginMark) || !strings.HasSuffix(text, endMark+"after\n") ||
		strings.Contains(text, "old") || strings.Count(text, "warren SSE") != 1 || !strings.Contains(text, "(page.svg)") {
		t.Errorf("the page is\n%s", text)
	}
	plot, err := os.ReadFile(strings.TrimSuffix(page, ".md") + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(plot), "256 B, warren SSE") || !strings.Contains(string(plot), "1,234,567") {
		t.Errorf("the plot is\n%s", plot)
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0", 0.0123: "0.012", 0.5: "0.50", 12.34: "12.3", 123.4: "123", 1234.5: "1,235", 1_234_567: "1,234,567", 3: "3", -2000: "-2,000",
	} {
		if got := number(value); got != want {
			t.Errorf("%v is written %q, want %q", value, got, want)
		}
	}
}
