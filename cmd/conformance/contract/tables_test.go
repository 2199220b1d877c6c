package contract_test

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/warren-gateway/warren"
	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
	"github.com/warren-gateway/warren/transport"
)

// The tables stand in code, in openapi.yaml and asyncapi.yaml (as tables and as enumerations of their schemas), and in
// docs/protocol.md. Each is held to the tables of the specifications, in both directions and in the same order.

func load(t *testing.T) *contract.Contract {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// same fails unless two lists are the same.
func same[T any](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// each returns what f makes of every row.
func each[R, T any](rows []R, f func(R) T) []T {
	out := make([]T, 0, len(rows))
	for _, row := range rows {
		out = append(out, f(row))
	}
	return out
}

func TestProblemCodesOfCodeAndSpecificationsAreTheSame(t *testing.T) {
	rows := load(t).Tables().Problems
	same(t, "codes", each(broker.Codes(), func(c broker.Code) string { return string(c) }),
		each(rows, func(r contract.ProblemCode) string { return r.Code }))
	for _, r := range rows {
		code := broker.Code(r.Code)
		if got := api.Status(code); got != r.Status {
			t.Errorf("%s: code answers %d, specified is %d", r.Code, got, r.Status)
		}
		if rule := transport.RuleOf(transport.ReasonOf(code)); r.CloseCode != nil && rule.Code != *r.CloseCode {
			t.Errorf("%s: code closes with %d, specified is %d", r.Code, rule.Code, *r.CloseCode)
		}
	}
}

func TestCloseCodesOfCodeAndSpecificationAreTheSame(t *testing.T) {
	var want []transport.CloseRule
	for _, r := range load(t).Tables().Closes {
		for _, reason := range r.Reasons {
			want = append(want, transport.CloseRule{Reason: transport.Reason(reason), Code: r.Code, Reconnect: r.Reconnect})
		}
	}
	same(t, "close codes", transport.CloseRules(), want)
}

func TestGapReasonsAndFrameTypesOfCodeAndSpecificationAreTheSame(t *testing.T) {
	tables := load(t).Tables()
	same(t, "gap reasons", each(broker.GapReasons(), func(r broker.GapReason) string { return string(r) }),
		each(tables.Gaps, func(r contract.GapReason) string { return r.Reason }))
	same(t, "frame types", each(broker.Kinds(), broker.Kind.String),
		each(tables.Frames, func(f contract.FrameType) string { return f.Type }))
}

// document is a specification as nested maps.
type document map[string]any

func read(t *testing.T, text []byte) document {
	t.Helper()
	var d map[string]any
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// at returns what stands at a path, names separated by slashes.
func (d document) at(t *testing.T, path string) any {
	t.Helper()
	var v any = map[string]any(d)
	for name := range strings.SplitSeq(path, "/") {
		m, ok := v.(map[string]any)
		if !ok || m[name] == nil {
			t.Fatalf("there is nothing at %s", path)
		}
		v = m[name]
	}
	return v
}

// texts returns a list as texts.
func (d document) texts(t *testing.T, path string) []string {
	t.Helper()
	list, ok := d.at(t, path).([]any)
	if !ok {
		t.Fatalf("%s is no list", path)
	}
	return each(list, func(v any) string { return fmt.Sprint(v) })
}

func TestEnumerationsOfSchemasAreTheTables(t *testing.T) {
	tables := load(t).Tables()
	rest, streams := read(t, warren.OpenAPI), read(t, warren.AsyncAPI)
	codes := each(tables.Problems, func(r contract.ProblemCode) string { return r.Code })
	same(t, "openapi.yaml: ProblemCode", rest.texts(t, "components/schemas/ProblemCode/enum"), codes)
	same(t, "asyncapi.yaml: ProblemCode", streams.texts(t, "components/schemas/ProblemCode/enum"), codes)
	same(t, "limits", rest.texts(t, "components/schemas/LimitName/enum"), streams.texts(t, "components/schemas/LimitName/enum"))
	same(t, "CloseCode", streams.texts(t, "components/schemas/CloseCode/enum"),
		each(tables.Closes, func(r contract.CloseCode) string { return strconv.Itoa(r.Code) }))
	var reasons []string
	for _, r := range tables.Closes {
		reasons = append(reasons, r.Reasons...)
	}
	same(t, "Bye", streams.texts(t, "components/schemas/Bye/properties/reason/enum"), reasons)
	gaps := slices.Concat(
		[]string{
			fmt.Sprint(streams.at(t, "components/schemas/GapEvicted/properties/reason/const")),
			fmt.Sprint(streams.at(t, "components/schemas/GapOversized/properties/reason/const")),
			fmt.Sprint(streams.at(t, "components/schemas/GapQueueOverflow/properties/reason/const")),
		},
		streams.texts(t, "components/schemas/GapUncounted/properties/reason/enum"))
	same(t, "Gap", gaps, each(tables.Gaps, func(r contract.GapReason) string { return r.Reason }))
	for _, f := range tables.Frames {
		if f.Type == "gap" {
			continue // one schema per reason
		}
		if got := streams.at(t, "components/schemas/"+f.Schema+"/properties/type/const"); got != f.Type {
			t.Errorf("the schema %s is of frames %v, the table says %s", f.Schema, got, f.Type)
		}
	}
	for _, r := range tables.Requests {
		if got := streams.at(t, "components/schemas/"+r.Schema+"/properties/type/const"); got != r.Type {
			t.Errorf("the schema %s is of requests %v, the table says %s", r.Schema, got, r.Type)
		}
	}
}

// chapter returns the rows of the first table below a heading of docs/protocol.md, without head and code marks.
func chapter(t *testing.T, heading string) [][]string {
	t.Helper()
	_, text, found := strings.Cut(warren.Protocol, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/protocol.md has no chapter %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var rows [][]string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			if len(rows) > 0 {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		rows = append(rows, each(cells, func(c string) string { return strings.TrimSpace(strings.ReplaceAll(c, "`", "")) }))
	}
	if len(rows) < 3 {
		t.Fatalf("the chapter %q has no table", heading)
	}
	return rows[2:]
}

func TestTablesOfTheProtocolAreThoseOfTheSpecifications(t *testing.T) {
	tables := load(t).Tables()
	column := func(heading string, columns ...int) []string {
		return each(chapter(t, heading), func(row []string) string {
			cells := each(columns, func(i int) string { return row[i] })
			return strings.Join(cells, " ")
		})
	}
	same(t, "problem codes", column("16. Errors", 0, 1, 2), each(tables.Problems, func(r contract.ProblemCode) string {
		closes := "–"
		if r.CloseCode != nil {
			closes = strconv.Itoa(*r.CloseCode)
		}
		return fmt.Sprint(r.Code, " ", r.Status, " ", closes)
	}))
	word := regexp.MustCompile(`^(true|false)`)
	same(t, "close codes", each(chapter(t, "18. Close codes"), func(row []string) string {
		return row[0] + " " + row[1] + " " + word.FindString(row[2])
	}), each(tables.Closes, func(r contract.CloseCode) string {
		return fmt.Sprint(r.Code, " ", strings.Join(r.Reasons, ", "), " ", r.Reconnect)
	}))
	missed := map[string]string{"count_or_null": "count", "one": "1", "null": "null"}
	same(t, "gap reasons", each(chapter(t, "12. Gaps"), func(row []string) string {
		return strings.Join([]string{row[0], row[1], strings.TrimSuffix(strings.TrimSuffix(row[2], " or null"), "¹")}, " ")
	}), each(tables.Gaps, func(r contract.GapReason) string {
		return strings.Join([]string{r.Reason, r.Of, missed[r.Missed]}, " ")
	}))
	same(t, "frame types", strings.Split(strings.Join(column("10. Frames", 0), ", "), ", "),
		each(tables.Frames, func(f contract.FrameType) string { return f.Type }))
	same(t, "requests", strings.Split(strings.Join(column("15. WebSocket requests", 0), ", "), ", "),
		each(tables.Requests, func(r contract.RequestType) string { return r.Type }))
	same(t, "defaults", column("23. Limits", 0, 1, 2), each(tables.Defaults, func(d contract.Default) string {
		return d.Flag + " " + thousands(int(d.Default)) + " " + strings.ReplaceAll(d.Unit, "_", " ")
	}))
}

// thousands writes a number as docs/protocol.md does.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// TestSchemasThatBothSpecificationsHaveAreTheSame notices a member that is renamed in one of them alone.
func TestSchemasThatBothSpecificationsHaveAreTheSame(t *testing.T) {
	rest, _ := read(t, warren.OpenAPI).at(t, "components/schemas").(map[string]any)
	streams, _ := read(t, warren.AsyncAPI).at(t, "components/schemas").(map[string]any)
	both := 0
	for name, schema := range rest {
		other, ok := streams[name]
		if !ok {
			continue
		}
		both++
		if !reflect.DeepEqual(schema, other) {
			t.Errorf("%s differs:\nopenapi.yaml:  %v\nasyncapi.yaml: %v", name, schema, other)
		}
	}
	if both < 8 {
		t.Errorf("only %d schemas are in both", both)
	}
}
