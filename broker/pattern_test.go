package broker_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
)

func pattern(tb testing.TB, text string) broker.Pattern {
	tb.Helper()
	p, err := broker.ParsePattern(text)
	if err != nil {
		tb.Fatalf("ParsePattern(%q): %v", text, err)
	}
	return p
}

// splitWords cuts a key as RabbitMQ's rabbit_exchange_type_topic does: the empty key has no word.
func splitWords(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

// slowMatch is the definition, word by word, with nothing clever in it.
func slowMatch(pattern, key []string) bool {
	if len(pattern) == 0 {
		return len(key) == 0
	}
	if pattern[0] == "#" {
		return slowMatch(pattern[1:], key) || len(key) > 0 && slowMatch(pattern, key[1:])
	}
	return len(key) > 0 && (pattern[0] == "*" || pattern[0] == key[0]) && slowMatch(pattern[1:], key[1:])
}

func TestPatternMatchesAsATopicExchangeDoes(t *testing.T) {
	long := strings.Repeat("a.", 500) + "a"
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"", "", true},
		{"", "a", false},
		{"", ".", false},
		{"#", "", true},
		{"#", "a", true},
		{"#", "..", true},
		{"#", long, true},
		{"*", "", false}, // The empty key has no word at all.
		{"*", "a", true},
		{"*", ".", false},
		{"*.*", ".", true}, // A lone dot has two empty words.
		{".", ".", true},
		{".*", ".", true},
		{"a.", "a.", true},
		{"a.", "a", false},
		{"a.*", "a.", true},
		{"a.#", "a", true},
		{"a.#", "a.", true},
		{"a.#", "ab", false},
		{"#.a", "a", true},
		{"#.a", "b.a.a", true},
		{"#.a", "a.b", false},
		{"#.a.#", "b.c", false},
		{"#.a.#", "b.a.c", true},
		{"a..b", "a..b", true},
		{"a.*.b", "a..b", true},
		{"a.#.b", "a..b", true},
		{"#.#", "", true},
		{"#.*.#", "", false},
		{"#.*.#", "x", true},
		{"*.#", "x.y.z", true},
		{"#.", "", false},
		{"#.", ".", true},
		{"#.", "a.", true},
		{".#", ".a.b", true},
		{"a*", "ab", false}, // A wildcard counts as a whole word only.
		{"a*", "a*", true},
		{"*", "*", true},
		{"#", "#", true},
		{"a#.b", "a#.b", true},
		{"a.b", "A.b", false},
		{"*.b", "\xff.b", true}, // Keys need not be UTF-8.
		{"#.a.*.b.#", "a.a.b.b", true},
		{"#.a.*.b.#", "a.a.c.c.b.b", false},
		{"a.#.a", "a", false},
		{"#.b", long, false},
	} {
		if got := pattern(t, c.pattern).Match(c.key); got != c.want {
			t.Errorf("pattern %q, key %q: got %v", c.pattern, c.key, got)
		}
		if got := slowMatch(splitWords(c.pattern), splitWords(c.key)); len(c.key) < 100 && got != c.want {
			t.Errorf("the oracle is wrong: pattern %q, key %q: got %v", c.pattern, c.key, got)
		}
	}
}

func TestParsePatternTakesAnyTextThatAmqpAndJSONCarry(t *testing.T) {
	for _, text := range []string{"", ".", "#", "a.#.*", "a*b", "ü.ñ", "\x00", strings.Repeat("x", 255), strings.Repeat(".", 255)} {
		if got := pattern(t, text).String(); got != text {
			t.Errorf("String of %q: %q", text, got)
		}
	}
	if _, err := broker.ParsePattern(strings.Repeat("x", 256)); !errors.Is(err, broker.ErrPatternTooLong) {
		t.Errorf("256 bytes: got %v", err)
	}
	if _, err := broker.ParsePattern("a.\xff"); !errors.Is(err, broker.ErrPatternEncoding) {
		t.Errorf("not UTF-8: got %v", err)
	}
	var zero broker.Pattern
	if !zero.Match("") || zero.Match("a") || zero != pattern(t, "") {
		t.Error("the zero Pattern is not the empty pattern")
	}
}

func TestHashesCountsWholeWords(t *testing.T) {
	for text, want := range map[string]int{"": 0, "#": 1, "a#": 0, "#.#": 2, "a.#.*.#": 2, "##": 0, ".": 0} {
		if got := pattern(t, text).Hashes(); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func drawWords(words ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 9).Draw(t, "words"), ".")
	})
}

func TestMatchAgreesWithTheDefinition(t *testing.T) {
	patterns, keys := drawWords("a", "b", "", "*", "#", "#"), drawWords("a", "b", "", "*", "#", "z")
	rapid.Check(t, func(t *rapid.T) {
		text, key := patterns.Draw(t, "pattern"), keys.Draw(t, "key")
		p, err := broker.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.Match(key), slowMatch(splitWords(text), splitWords(key)); got != want {
			t.Fatalf("pattern %q, key %q: got %v", text, key, got)
		}
	})
}

func TestMatchDoesNotAllocateOrBlowUp(t *testing.T) {
	bad := pattern(t, strings.Repeat("#.a.", 60)+"b")
	key := strings.Repeat("a.", 127) + "c"
	if n := testing.AllocsPerRun(10, func() { bad.Match(key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if bad.Match(key) {
		t.Error("matched")
	}
}

func FuzzPatternMatch(f *testing.F) {
	for _, seed := range []string{"", ".", "#", "*", "a.#.b", "#.a.#.*.b", "#.", ".#", "*.#.*", "ü.#"} {
		f.Add(seed, "a.b")
		f.Add(seed, "")
		f.Add(seed, ".")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		p, err := broker.ParsePattern(text)
		if err != nil {
			return
		}
		// The oracle is exponential in the number of "#".
		if p.Hashes() > 4 || len(key) > 60 {
			p.Match(key)
			return
		}
		if got, want := p.Match(key), slowMatch(splitWords(text), splitWords(key)); got != want {
			t.Fatalf("pattern %q, key %q: got %v, want %v", text, key, got, want)
		}
	})
}

func BenchmarkPatternMatch(b *testing.B) {
	for name, c := range map[string]struct{ pattern, key string }{
		"exact": {"builds.linux.amd64.done", "builds.linux.amd64.done"},
		"all":   {"#", "builds.linux.amd64.done"},
		"star":  {"builds.*.amd64.*", "builds.linux.amd64.done"},
		"tail":  {"builds.#", "builds.linux.amd64.done"},
		"worst": {strings.Repeat("#.a.", 60) + "b", strings.Repeat("a.", 127) + "c"},
	} {
		b.Run(name, func(b *testing.B) {
			p := pattern(b, c.pattern)
			b.ReportAllocs()
			for b.Loop() {
				p.Match(c.key)
			}
		})
	}
}
