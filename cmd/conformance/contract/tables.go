package contract

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Tables are the tables that programs can read: the x- members of openapi.yaml and asyncapi.yaml.
type Tables struct {
	Problems []ProblemCode // x-problem-codes, of both
	Closes   []CloseCode   // x-close-codes
	Gaps     []GapReason   // x-gap-reasons
	Frames   []FrameType   // x-frame-types
	Requests []RequestType // x-request-types
	Defaults []Default     // x-defaults, of both
	Bounds   []Bound       // x-bounds, of both
	Implicit []string      // x-implicit-headers of openapi.yaml: headers that need no description
}

// ProblemCode is a row of x-problem-codes.
type ProblemCode struct {
	Code      string
	Status    int
	CloseCode *int `yaml:"close_code"` // nil where a stream never ends with it
}

// CloseCode is a row of x-close-codes.
type CloseCode struct {
	Code      int
	Reasons   []string
	Reconnect bool
}

// GapReason is a row of x-gap-reasons.
type GapReason struct {
	Reason string
	Of     string // "reader" or "log"
	Missed string // "count_or_null", "one" or "null"
}

// FrameType is a row of x-frame-types.
type FrameType struct {
	Type       string
	Transports []string // "sse", "ws"
	ID         string   `yaml:"id"` // "always", "sometimes" or "never"
	Offset     string
	Schema     string
}

// RequestType is a row of x-request-types.
type RequestType struct {
	Type   string
	Schema string
}

// Default is a row of x-defaults; durations are in seconds.
type Default struct {
	Flag    string
	Default float64
	Unit    string
}

// Bound is a row of x-bounds.
type Bound struct {
	Name  string
	Value float64
	Unit  string
}

type commonTables struct {
	ProblemCodes []ProblemCode `yaml:"x-problem-codes"`
	Defaults     []Default     `yaml:"x-defaults"`
	Bounds       []Bound       `yaml:"x-bounds"`
	Implicit     []string      `yaml:"x-implicit-headers"`
}

type asyncTables struct {
	commonTables `yaml:",inline"`
	CloseCodes   []CloseCode   `yaml:"x-close-codes"`
	GapReasons   []GapReason   `yaml:"x-gap-reasons"`
	FrameTypes   []FrameType   `yaml:"x-frame-types"`
	RequestTypes []RequestType `yaml:"x-request-types"`
}

// readTables reads the tables, and holds those that stand in both documents to each other.
func readTables(openapi, asyncapi []byte) (Tables, error) {
	var rest commonTables
	var streams asyncTables
	if err := yaml.Unmarshal(openapi, &rest); err != nil {
		return Tables{}, err
	}
	if err := yaml.Unmarshal(asyncapi, &streams); err != nil {
		return Tables{}, err
	}
	for _, pair := range []struct {
		name string
		a, b any
	}{
		{"x-problem-codes", rest.ProblemCodes, streams.ProblemCodes},
		{"x-defaults", rest.Defaults, streams.Defaults},
		{"x-bounds", rest.Bounds, streams.Bounds},
	} {
		if !reflect.DeepEqual(pair.a, pair.b) {
			return Tables{}, fmt.Errorf("%s of openapi.yaml and asyncapi.yaml differ: %v, %v", pair.name, pair.a, pair.b)
		}
	}
	return Tables{
		Problems: streams.ProblemCodes, Closes: streams.CloseCodes, Gaps: streams.GapReasons, Frames: streams.FrameTypes,
		Requests: streams.RequestTypes, Defaults: streams.Defaults, Bounds: streams.Bounds, Implicit: rest.Implicit,
	}, nil
}

// DefaultOf returns the default of a flag, named without dashes; it panics for one that x-defaults does not have.
func (t Tables) DefaultOf(flag string) float64 {
	for _, d := range t.Defaults {
		if d.Flag == "--"+flag {
			return d.Default
		}
	}
	panic("contract: x-defaults has no --" + flag)
}

// UnitOf returns the unit of a flag, named without dashes, or "".
func (t Tables) UnitOf(flag string) string {
	for _, d := range t.Defaults {
		if d.Flag == "--"+flag {
			return d.Unit
		}
	}
	return ""
}
