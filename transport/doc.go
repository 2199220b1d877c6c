// Package transport carries a subscription's frames to clients over Server-Sent
// Events and WebSocket. Both are one loop (stream.go) over two writers
// (sse.go, ws.go), so that they cannot drift apart.
//
// # Guarantees
//
// Frames are written in the order in which broker.Attachment.Next answers them,
// each whole, none twice and none left out. As many as are ready go out in one
// system call; a frame that finds its stream idle goes out at once. An answer
// to a WebSocket request never overtakes a frame that was ready before it, and
// answers keep the order of their requests.
//
// The last thing a stream writes is a bye frame, then it closes. A client that
// has closed, or that takes no bytes any more, may see nothing of it.
//
// # Ownership
//
// ServeSSE, ServeWS and their refusals take over the connection (HTTP/1.1) and
// return at once, so that net/http's goroutine and buffers are free while the
// stream lives. The attachment and the Session belong to the stream from then
// on: Attachment.Close and Session.Closed are called exactly once, whatever
// happens. On HTTP/2 the handler's goroutine is the stream, and the call
// returns when it ends.
//
// Every goroutine is the Server's: Close returns when all are gone. An idle SSE
// stream has one goroutine. An idle WebSocket has one too on Linux without TLS,
// where a poller says when there is something to read, and two elsewhere.
//
// # Failures
//
// A client that is gone is noticed by the poller (Linux), by a read, by a failed
// write, or by the kernel after TCP_USER_TIMEOUT; a WebSocket also by a missing
// pong. A client that takes nothing for the write timeout is ended with
// slow_reader: it costs nobody else anything but one pooled buffer until then.
// A panic in a callback ends its own stream with internal_error.
package transport
