package contract

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/warren-gateway/warren"
)

// Contract is a pair of specifications, compiled.
type Contract struct {
	openapi  *openAPI
	frames   map[string]frameType
	requests map[string]*jsonschema.Schema
	tables   Tables
}

// frameType is a row of x-frame-types, with the schema that it names.
type frameType struct {
	FrameType
	schema *jsonschema.Schema
}

// Load compiles the specifications that are embedded, once.
var Load = sync.OnceValues(func() (*Contract, error) { return New(warren.OpenAPI, warren.AsyncAPI) })

// New compiles an openapi.yaml and an asyncapi.yaml.
func New(openapi, asyncapi []byte) (*Contract, error) {
	c := &Contract{frames: map[string]frameType{}, requests: map[string]*jsonschema.Schema{}}
	var err error
	if c.openapi, err = newOpenAPI(openapi); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	if err := c.loadAsyncAPI(asyncapi); err != nil {
		return nil, fmt.Errorf("asyncapi.yaml: %w", err)
	}
	c.tables, err = readTables(openapi, asyncapi)
	return c, err
}

func (c *Contract) loadAsyncAPI(text []byte) error {
	const address = "asyncapi.yaml"
	compiler, err := newCompiler(address, text)
	if err != nil {
		return err
	}
	schema := func(name string) (*jsonschema.Schema, error) {
		return compiler.Compile(address + "#/components/schemas/" + name)
	}
	var tables asyncTables
	if err := yaml.Unmarshal(text, &tables); err != nil {
		return err
	}
	for _, t := range tables.FrameTypes {
		s, err := schema(t.Schema)
		if err != nil {
			return err
		}
		c.frames[t.Type] = frameType{t, s}
	}
	for _, t := range tables.RequestTypes {
		s, err := schema(t.Schema)
		if err != nil {
			return err
		}
		c.requests[t.Type] = s
	}
	return nil
}

// newCompiler returns a compiler of the schemas within a specification.
func newCompiler(address string, text []byte) (*jsonschema.Compiler, error) {
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.AssertContent()
	return compiler, compiler.AddResource(address, plain(doc))
}

// plain makes of what yaml decodes what encoding/json would: all integers become float64, as the schema library compares
// numbers by value anyway but knows only some integer types.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = plain(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plain(e)
		}
	case int:
		return float64(v)
	case uint64:
		return float64(v)
	}
	return v
}

// Tables returns the tables of both specifications.
func (c *Contract) Tables() Tables { return c.tables }

// decode reads one JSON value as the schema library wants it.
func decode(raw []byte) (any, error) {
	return jsonschema.UnmarshalJSON(bytes.NewReader(raw))
}
