// Package warren holds the published specifications of the gateway. It stands at
// the top of the module for one reason: go:embed cannot reach upwards, and the
// specifications belong where people and tools look for them first.
package warren

import _ "embed" // for the directives below

// OpenAPI is openapi.yaml: the REST API, in OpenAPI 3.1.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI is asyncapi.yaml: the frames of both kinds of stream, in AsyncAPI 3.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte

// Protocol is docs/protocol.md: the same for people, with every requirement
// numbered [P-n]. The conformance suite reads the requirements from it.
//
//go:embed docs/protocol.md
var Protocol string
