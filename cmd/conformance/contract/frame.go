package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Transport is the kind of a stream, as x-frame-types spells it.
type Transport string

// The two transports.
const (
	SSE Transport = "sse"
	WS  Transport = "ws"
)

// Frame returns what is wrong with a frame that a gateway sent: nil, or one error per fault, joined.
func (c *Contract) Frame(on Transport, raw []byte) error {
	v, err := decode(raw)
	if err != nil {
		return fmt.Errorf("frame %.200q is no JSON: %w", raw, err)
	}
	object, _ := v.(map[string]any)
	name, _ := object["type"].(string)
	kind, known := c.frames[name]
	switch {
	case !known:
		return fmt.Errorf("frame %.200q has no type that is described", raw)
	case !slices.Contains(kind.Transports, string(on)):
		return fmt.Errorf("a frame %q is not described for %s", name, on)
	}
	if err := kind.schema.Validate(v); err != nil {
		return fmt.Errorf("frame %.300s: %s", raw, reasons(err))
	}
	return nil
}

// Request returns what is wrong with a request that a WebSocket client means to send.
func (c *Contract) Request(raw []byte) error {
	v, err := decode(raw)
	if err != nil {
		return fmt.Errorf("request %.200q is no JSON: %w", raw, err)
	}
	object, _ := v.(map[string]any)
	name, _ := object["type"].(string)
	schema, known := c.requests[name]
	if !known {
		return fmt.Errorf("request %.200q has no type that is described", raw)
	}
	if err := schema.Validate(v); err != nil {
		return fmt.Errorf("request %.200s: %s", raw, reasons(err))
	}
	return nil
}

// reasons puts what the schema library says into one line.
func reasons(err error) string {
	if _, ok := errors.AsType[*jsonschema.ValidationError](err); !ok {
		return err.Error()
	}
	var out []string
	for line := range strings.Lines(err.Error()) {
		if at, found := strings.CutPrefix(strings.TrimSpace(line), "- "); found {
			out = append(out, at)
		}
	}
	return strings.Join(out, "; ")
}
