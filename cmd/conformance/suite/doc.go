// Package suite holds a running gateway to docs/protocol.md from outside, as a client would: over HTTP and WebSocket, and by
// publishing to the exchanges that the gateway listens to.
//
// A [Check] tries something and records what it saw for each requirement [P-n] that it names; [Run] runs the checks that fit
// a deployment, many at a time and politely (it keeps below the gateway's rates), and answers one [Row] per requirement.
// Whatever passes over the wire meanwhile is held to openapi.yaml and asyncapi.yaml; faults fail the requirement of which
// they are a breach and the check that met them.
//
// The files are named after the chapters of docs/protocol.md.
package suite
