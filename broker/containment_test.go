package broker_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
)

func TestContainsIsDecidedByMeaning(t *testing.T) {
	for _, c := range []struct {
		granted, requested string
		want               bool
	}{
		{"#", "#", true},
		{"#", "", true},
		{"", "", true},
		{"", "#", false},
		{"#.#", "#", true},
		{"#", "*.#.*", true},
		{"*.#", "#", false}, // The empty key.
		{"*.#", "#.*", true},
		{"#.*", "*.#", true},
		{"#.*.#", "*", true},
		{"*.*.#", "#.*.#.*", true},
		{"*.*.#", "*.#", false},
		{"orders.*", "orders.#", false},
		{"orders.#", "orders.*", true},
		{"orders.#", "orders", true},
		{"orders.#", "*.new", false},
		{"orders.#", "#", false},
		{"orders.*", "orders.", true},
		{"orders", "orders", true},
		{"orders", "*", false},
		{"*", "orders", true},
		{"*", "", false},
		{"a.#.b", "a.*.b", true},
		{"a.#.b", "a.#.b.#.b", true},
		{"a.#.b", "a.#", false},
		{"a.*.#", "a.#", false},
		{"a.#.*", "a.*.#", true},
		{"#.a.#", "b.#.a", true},
		{"#.a.#", "b.#.c", false},
		{"#.a.*.b.#", "a.#.b", false},
		{"#.a.*.b.#", "a.a.#.b.b", false}, // True for none and for one word in place of "#", but not for two.
		{"#.a.*.*.b.#", "a.a.a.#.b.b.b", false},
		{"#.a.*.#.b.#", "a.#.b.x.#.b", true},
		{"#.a.*.#.b.c.#", "a.#.b.c.#.b.#.c", false},
		{"a.#.a", "a", false},
		{"a.#.a", "a.a", true},
		{"*.a.#", "#.a", false},
		{"*.a.#", "*.a", true},
		{"a*.#", "ab", false},
		{"*.#.", "#.", true}, // The lone empty word is no key.
		{".#.*", ".#", true},
		{"*.#.", "#..#", false},
		{"#.*.#", "#..#", true},
		{"#.*.*.#", "#..#", true},
		{"#.*.*.#", "#.a.#", false},
		{"#.*.*.#", "#..#.", true},
		{"*.*.*.#", "#..#", false},
	} {
		if got := pattern(t, c.granted).Contains(pattern(t, c.requested)); got != c.want {
			t.Errorf("%q contains %q: got %v", c.granted, c.requested, got)
		}
	}
}

// TestContainsAgreesWithAllShortKeys compares with brute force over every pattern of up to four words and every key of up to
// seven: each pattern's keys as a set of bits, "z" being a word that no pattern names.
func TestContainsAgreesWithAllShortKeys(t *testing.T) {
	var keys [][]string
	for _, key := range sequences([]string{"a", "b", "", "z"}, 7) {
		if len(key) != 1 || key[0] != "" { // No key has the empty word as its only one.
			keys = append(keys, key)
		}
	}
	all := sequences([]string{"a", "b", "", "*", "#"}, 4)
	patterns := make([]broker.Pattern, 0, len(all))
	matched := make([][]uint64, 0, len(all))
	for _, words := range all {
		if len(words) == 1 && words[0] == "" {
			continue
		}
		set := make([]uint64, (len(keys)+63)/64)
		for i, key := range keys {
			if slowMatch(words, key) {
				set[i/64] |= 1 << (i % 64)
			}
		}
		patterns = append(patterns, pattern(t, strings.Join(words, ".")))
		matched = append(matched, set)
	}
	for g := range patterns {
		for r := range patterns {
			if got, want := patterns[g].Contains(patterns[r]), subset(matched[r], matched[g]); got != want {
				t.Errorf("%q contains %q: got %v, want %v", patterns[g], patterns[r], got, want)
			}
		}
	}
}

func subset(a, b []uint64) bool {
	for i := range a {
		if a[i]&^b[i] != 0 {
			return false
		}
	}
	return true
}

// sequences returns all sequences of up to n of the words.
func sequences(words []string, n int) [][]string {
	out := [][]string{nil}
	for from := 0; n > 0; n-- {
		to := len(out)
		for ; from < to; from++ {
			for _, word := range words {
				out = append(out, append(slices.Clip(out[from]), word))
			}
		}
	}
	return out
}

// slowContains decides containment by the textbook: it walks the product of the requested pattern's automaton and the granted
// one's subset construction, looking for a key that the first accepts and the second does not.
func slowContains(granted, requested []string) bool {
	alphabet := map[string]bool{"\x00fresh": true, "": true}
	for _, word := range append(append([]string{}, granted...), requested...) {
		if word != "*" && word != "#" {
			alphabet[word] = true
		}
	}
	type state struct{ requested, granted uint64 }
	type walk struct {
		state
		words int
		empty bool // The walk so far is the lone empty word, which is no key.
	}
	seen := map[walk]bool{}
	queue := []walk{{state: state{closure(requested, 1), closure(granted, 1)}}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if accepts(requested, at.requested) && !accepts(granted, at.granted) && !at.empty {
			return false
		}
		for word := range alphabet {
			next := walk{
				state: state{step(requested, at.requested, word), step(granted, at.granted, word)},
				words: min(at.words+1, 2),
				empty: at.words == 0 && word == "",
			}
			if next.requested != 0 && !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return true
}

func accepts(pattern []string, states uint64) bool { return states&(1<<len(pattern)) != 0 }

// closure adds the states that are reached by taking a "#" for no word.
func closure(pattern []string, states uint64) uint64 {
	for i, word := range pattern {
		if word == "#" && states&(1<<i) != 0 {
			states |= 1 << (i + 1)
		}
	}
	return states
}

func step(pattern []string, states uint64, word string) uint64 {
	var next uint64
	for i, want := range pattern {
		switch {
		case states&(1<<i) == 0:
		case want == "#":
			next |= 1 << i
		case want == "*" || want == word:
			next |= 1 << (i + 1)
		}
	}
	return closure(pattern, next)
}

func TestContainsAgreesWithTheAutomaton(t *testing.T) {
	texts := drawWords("a", "a", "b", "", "*", "*", "#", "#")
	rapid.Check(t, func(t *rapid.T) {
		checkContains(t, texts.Draw(t, "granted"), texts.Draw(t, "requested"))
	})
}

// TestContainsAgreesWithTheAutomatonOnWeakenedPatterns makes the granted pattern out of the requested one, so that the answer is yes
// about as often as no.
func TestContainsAgreesWithTheAutomatonOnWeakenedPatterns(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2026))
	words := []string{"a", "b", "", "*", "#", "#"}
	yes := 0
	const rounds = 20000
	for range rounds {
		requested := make([]string, 1+random.IntN(8))
		for i := range requested {
			requested[i] = words[random.IntN(len(words))]
		}
		var granted []string
		for _, word := range requested {
			switch random.IntN(8) {
			case 0:
				granted = append(granted, "*")
			case 1:
				granted = append(granted, "#")
			case 2:
				granted = append(granted, "#", word)
			case 3:
				granted = append(granted, word, "*")
			default:
				granted = append(granted, word)
			}
		}
		if checkContains(t, strings.Join(granted, "."), strings.Join(requested, ".")) {
			yes++
		}
	}
	if yes < rounds/10 || yes > rounds*9/10 {
		t.Errorf("%d of %d were contained: the test has lost its point", yes, rounds)
	}
}

func checkContains(t interface {
	Fatalf(format string, args ...any)
}, granted, requested string,
) bool {
	g, err1 := broker.ParsePattern(granted)
	r, err2 := broker.ParsePattern(requested)
	if err1 != nil || err2 != nil {
		t.Fatalf("not patterns: %q, %q", granted, requested)
	}
	got := g.Contains(r)
	if want := slowContains(splitWords(granted), splitWords(requested)); got != want {
		t.Fatalf("%q contains %q: got %v, want %v", granted, requested, got, want)
	}
	return got
}

func TestContainsHoldsForWhatMatches(t *testing.T) {
	texts, keys := drawWords("a", "b", "", "*", "#"), drawWords("a", "b", "", "z")
	rapid.Check(t, func(t *rapid.T) {
		g, _ := broker.ParsePattern(texts.Draw(t, "granted"))
		r, _ := broker.ParsePattern(texts.Draw(t, "requested"))
		key := keys.Draw(t, "key")
		if g.Contains(r) && r.Match(key) && !g.Match(key) {
			t.Fatalf("%q contains %q, but not the key %q", g, r, key)
		}
		if !g.Contains(g) {
			t.Fatalf("%q does not contain itself", g)
		}
	})
}

func TestContainsIsBoundedOnTheLongestPatterns(t *testing.T) {
	granted := pattern(t, "#."+strings.Repeat("a.*.", 62)+"b.#")
	requested := pattern(t, strings.Repeat("a.", 127)+"#")
	if granted.Contains(requested) {
		t.Error("contained")
	}
	empties := pattern(t, strings.Repeat(".", 255))
	if !pattern(t, "#").Contains(empties) || !pattern(t, "*.#.").Contains(empties) || !empties.Contains(empties) {
		t.Error("256 empty words are not contained")
	}
	if n := testing.AllocsPerRun(10, func() { granted.Contains(requested) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzPatternContains(f *testing.F) {
	for _, seed := range []string{"", ".", "#", "*.#.", "#.", "#..#", "#.a.*.b.#", "a.a.#.b.b", "a.#.*.b", "a.*.#"} {
		f.Add(seed, "a.#.b")
		f.Add("#.a.*.b.#", seed)
		f.Add("#.*.", seed)
	}
	f.Fuzz(func(t *testing.T, granted, requested string) {
		g, err := broker.ParsePattern(granted)
		if err != nil {
			return
		}
		r, err := broker.ParsePattern(requested)
		if err != nil {
			return
		}
		got := g.Contains(r)
		// The textbook's subset construction is exponential.
		if g, r := splitWords(granted), splitWords(requested); len(g) <= 12 && len(r) <= 12 && got != slowContains(g, r) {
			t.Fatalf("%q contains %q: got %v", granted, requested, got)
		}
	})
}

func BenchmarkPatternContains(b *testing.B) {
	for name, c := range map[string]struct{ granted, requested string }{
		"all":   {"#", "builds.#"},
		"exact": {"builds.#", "builds.linux.amd64.done"},
		"usual": {"builds.*.amd64.#", "builds.linux.*.done"},
		"worst": {"#." + strings.Repeat("a.*.", 30) + "b.#", strings.Repeat("a.", 127) + "#"},
	} {
		b.Run(name, func(b *testing.B) {
			granted, requested := pattern(b, c.granted), pattern(b, c.requested)
			b.ReportAllocs()
			for b.Loop() {
				granted.Contains(requested)
			}
		})
	}
}
