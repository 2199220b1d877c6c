// Package readers has the frames of a gateway read back by parsers that are not ours: r3labs/sse and tmaxmax/go-sse in Go,
// the npm packages eventsource-parser and ws, and Chromium's EventSource and WebSocket. It holds tests alone.
//
// A corpus of nasty messages is published through both sources. All readers must get the very same frames; with payload=raw
// these hold byte for byte what was published, with payload=auto the same JSON values.
//
// The readers in JavaScript are in web/readers.
package readers
