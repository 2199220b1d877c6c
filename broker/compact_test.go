package broker

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// compactBodies are valid and invalid, and near to each other.
var compactBodies = []string{
	``, ` `, `{}`, `[]`, ` { } `, "[\n]", `{"a":1}`, "{ \"a\" :\t1 , \"b\": [ 1 , 2 ] }\r\n", `[{"a":[{}]},[],"x",true,false,null]`,
	`"a"`, `"a`, `"\"`, `"\\"`, `"\u00e9"`, `"\u00e"`, `"\u00eg"`, `"\x"`, "\"\x1f\"", "\"\x7f\"", `"é"`, "\"\u2028\"",
	`0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5`, `1e5`, `1e`, `1e+`, `1E-7`, `-1.25e+10`, `1 2`, `1x`, `1,`,
	`true`, `tru`, `truex`, `true false`, `nul`, `null `, `{`, `[`, `}`, `]`, `{]`, `[}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[,]`, `[1,]`,
	`{"a":1 "b":2}`, `{a:1}`, `{1:1}`, `[1 2]`, `{"a":1}}`, `[1]]`, `{"a":{"b":{"c":[1,{"d":2}]}}}`, "\x00", "[\x00]",
	strings.Repeat("[", maxInlineDepth) + strings.Repeat("]", maxInlineDepth),
	strings.Repeat("[", maxInlineDepth+1) + strings.Repeat("]", maxInlineDepth+1),
	strings.Repeat(`{"a":`, maxInlineDepth) + "1" + strings.Repeat("}", maxInlineDepth),
	strings.Repeat(`{"a":`, maxInlineDepth+1) + "1" + strings.Repeat("}", maxInlineDepth+1),
}

// checkCompact holds appendCompact against the standard library.
func checkCompact(t *testing.T, body []byte) {
	t.Helper()
	var want bytes.Buffer
	err := json.Compact(&want, body)
	got, ok := appendCompact([]byte("before"), body)
	switch {
	case !ok && string(got) != "before":
		t.Errorf("%q: refused, but something was appended: %q", body, got)
	case ok && err != nil:
		t.Errorf("%q: taken; encoding/json says %v", body, err)
	case ok && string(got) != "before"+want.String():
		t.Errorf("%q: %q, want %q", body, got, want.String())
	case !ok && err == nil && nesting(body) <= maxInlineDepth:
		t.Errorf("%q: refused", body)
	case ok && nesting(body) > maxInlineDepth:
		t.Errorf("%q: nests too deep", body)
	}
}

// nesting answers how deep a valid body nests, by the standard library.
func nesting(body []byte) int {
	tokens := json.NewDecoder(bytes.NewReader(body))
	depth, most := 0, 0
	for {
		token, err := tokens.Token()
		if err != nil {
			return most
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			most = max(most, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func TestCompactAgreesWithTheStandardLibrary(t *testing.T) {
	for _, body := range compactBodies {
		checkCompact(t, []byte(body))
	}
}

func FuzzCompact(f *testing.F) {
	for _, body := range compactBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(checkCompact)
}
