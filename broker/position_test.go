package broker

import (
	"strings"
	"testing"
)

func TestParsePosition(t *testing.T) {
	good := map[string]Position{
		"abc.0": {Stream: "abc", Offset: 0}, "a.b.12": {Stream: "a.b", Offset: 12},
		"~_-.18446744073709551615": {Stream: "~_-", Offset: 1<<64 - 1},
	}
	for s, want := range good {
		if got, err := ParsePosition(s); err != nil || got != want || got.String() != s {
			t.Errorf("%q is %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", ".", "abc", "abc.", ".1", "abc.01", "abc.-1", "abc.+1", "abc.x", "a b.1", "a\n.1", "ü.1",
		"abc.18446744073709551616", strings.Repeat("a", 127) + ".1",
	} {
		if got, err := ParsePosition(s); err == nil {
			t.Errorf("%q is taken for %+v", s, got)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"abc.1", "a..0", "x.01", strings.Repeat("9", 128)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err == nil && (p.String() != s || p.IsZero() || len(s) > MaxPositionLen) {
			t.Fatalf("%q becomes %q", s, p)
		}
	})
}

func TestIDsAreLongAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		stream, sub := newStreamID(), newSubscriptionID()
		if len(stream) != 17 || len(sub) != 22 || seen[stream] || seen[sub] {
			t.Fatalf("%q %q", stream, sub)
		}
		seen[stream], seen[sub] = true, true
		if _, err := ParsePosition(stream + ".1"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBindingIDComesFromTheContent(t *testing.T) {
	mk := func(e, k string, args Table) Binding {
		b, err := NewBinding(e, k, args)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	same := []Binding{mk("a", "b", nil), mk("a", "b", Table{})}
	if same[0].ID() != same[1].ID() {
		t.Error("the same binding has two ids")
	}
	ids := map[string]bool{}
	for _, b := range []Binding{
		same[0], mk("ab", "", nil), mk("a", "b", Table{"x": int64(1)}), mk("a", "b", Table{"x": "1"}), mk("a", "b", Table{"x": 1.5}),
	} {
		if ids[b.ID()] {
			t.Errorf("%+v shares its id", b)
		}
		ids[b.ID()] = true
	}
	if got := CanonicalBindings([]Binding{mk("z", "", nil), same[0], same[1]}); len(got) != 2 {
		t.Errorf("canonical form has %d bindings", len(got))
	}
}

func TestBindingsThatAreRefused(t *testing.T) {
	var nested any = "x"
	for range 10 {
		nested = []any{nested}
	}
	cases := []struct {
		exchange, key, field string
		args                 Table
	}{
		{exchange: "", field: "exchange"},
		{exchange: strings.Repeat("e", 256), field: "exchange"},
		{exchange: "e\xff", field: "exchange"},
		{exchange: "\ne", field: "exchange"},
		{exchange: "e\r", field: "exchange"},
		{exchange: "e", key: strings.Repeat("k", 256), field: "routing_key"},
		{exchange: "e", key: "a\x00", field: "routing_key"},
		{exchange: "e", key: "#.a.#.b.#.c.#", field: "routing_key"},
		{exchange: "e", args: Table{"n": nested}, field: "arguments"},
		{exchange: "e", args: Table{"n": Table{}}, field: "arguments"},
		{exchange: "e", args: Table{"n": []any{"x", []any{Table{"a": "b"}}}}, field: "arguments"},
	}
	for _, c := range cases {
		_, err := NewBinding(c.exchange, c.key, c.args)
		if e := AsError(err); e == nil || e.Code != CodeInvalidRequest || e.Field != c.field {
			t.Errorf("%q %q: %v", c.exchange, c.key, err)
		}
	}
}
