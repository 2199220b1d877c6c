package broker_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-gateway/warren/broker"
)

func glob(tb testing.TB, text string) broker.Glob {
	tb.Helper()
	g, err := broker.ParseGlob(text)
	if err != nil {
		tb.Fatalf("ParseGlob(%q): %v", text, err)
	}
	return g
}

func TestGlobSelectsByName(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true},
		{"*", "orders", true},
		{"**", "orders", true},
		{"orders", "orders", true},
		{"orders", "orders2", false},
		{"orders", "Orders", false},
		{"amq.rabbitmq.*", "amq.rabbitmq.trace", true},
		{"amq.rabbitmq.*", "amq.rabbitmq.", true},
		{"amq.rabbitmq.*", "amq.rabbitmq", false},
		{"amq.rabbitmq.*", "amqxrabbitmqxtrace", false}, // A dot is a dot.
		{"*.events", "shop.events", true},
		{"*.events", ".events", true},
		{"*.events", "shop.events.dead", false},
		{"a*a", "a", false}, // Both ends need their own letter.
		{"a*a", "aa", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"*ab*", "aab", true},
		{"*ab*ab*", "abab", true},
		{"*ab*ab*", "ab", false},
		{"*aba*aba*", "ababa", false}, // The parts may not overlap.
		{"?", "x", false},
		{"[a]", "a", false},
		{"ü*", "über", true},
		{"sh*/ev*", "shop/events", true},
	} {
		if got := glob(t, c.glob).Match(c.name); got != c.want {
			t.Errorf("glob %q, name %q: got %v", c.glob, c.name, got)
		}
	}
	if (broker.Glob{}).Match("orders") {
		t.Error("the zero Glob selects an exchange")
	}
}

func TestParseGlobRefusesWhatSelectsNothing(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("x", 256), "a\xff"} {
		if _, err := broker.ParseGlob(text); !errors.Is(err, broker.ErrGlob) {
			t.Errorf("%.10q: got %v", text, err)
		}
	}
	if got := glob(t, "a.*").String(); got != "a.*" {
		t.Errorf("String: %q", got)
	}
}

// globPattern is the oracle: the glob as a regular expression.
func globPattern(text string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, `.*`) + `$`)
}

func TestGlobAgreesWithARegularExpression(t *testing.T) {
	globs, names := rapid.StringOfN(rapid.RuneFrom([]rune("ab*.\n")), 1, 8, -1), rapid.StringOfN(rapid.RuneFrom([]rune("ab.\n")), 0, 10, -1)
	rapid.Check(t, func(t *rapid.T) {
		text, name := globs.Draw(t, "glob"), names.Draw(t, "name")
		g, err := broker.ParseGlob(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := g.Match(name), globPattern(text).MatchString(name); got != want {
			t.Fatalf("glob %q, name %q: got %v", text, name, got)
		}
	})
}

func TestGlobMatchDoesNotAllocate(t *testing.T) {
	g, name := glob(t, strings.Repeat("a*", 100)+"b"), strings.Repeat("a", 255)
	if n := testing.AllocsPerRun(10, func() { g.Match(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzGlob(f *testing.F) {
	for _, seed := range []string{"*", "**", "a*b", "*a*", "amq.rabbitmq.*", "*aba*aba*", "ü*"} {
		f.Add(seed, "ababa")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		g, err := broker.ParseGlob(text)
		// Regular expressions read names that are not UTF-8 differently.
		if err != nil || strings.ToValidUTF8(name, "?") != name {
			return
		}
		if got, want := g.Match(name), globPattern(text).MatchString(name); got != want {
			t.Fatalf("glob %q, name %q: got %v, want %v", text, name, got, want)
		}
	})
}

func BenchmarkGlobMatch(b *testing.B) {
	for name, c := range map[string]struct{ glob, name string }{
		"usual": {"shop.*.events", "shop.orders.events"},
		"worst": {strings.Repeat("*aab", 63) + "*", strings.Repeat("a", 255)},
	} {
		b.Run(name, func(b *testing.B) {
			g := glob(b, c.glob)
			b.ReportAllocs()
			for b.Loop() {
				g.Match(c.name)
			}
		})
	}
}
