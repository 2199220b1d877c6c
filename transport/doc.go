// Package transport carries a subscription's frames to clients over Server-Sent
// Events and WebSocket. Both are one loop (stream.go) over two writers
// (sse.go, ws.go), so that they cannot drift apart.
//
// # Guarantees
//
// Frames are written in the order in which broker.Attachment.Next answers them,
// each whole, none twice and none left out. As many as are ready go out in one
// system call; a frame that finds its stream idle goes out at once. What many
// streams are sent at a time is sent from the same memory (sheets.go). An answer
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
// happens. On HTTP/2, and where the connection cannot be taken over, the
// handler's goroutine is the stream's, and the call returns when it ends.
//
// A stream that has nothing to do has no goroutine. When its attachment, its
// client or the heartbeat has something for it, it is queued for a turn; a few
// workers take the turns (workers.go). There is at most one turn of a stream at
// a time, and only a turn writes. On Linux a poller says when a client is gone or
// has sent something; a WebSocket's requests are then served by a goroutine that
// ends when there are no more. Over TLS a WebSocket has a reading goroutine for
// good, and so has every stream on other systems.
//
// Every goroutine is the Server's: Close returns when all are gone.
//
// # Failures
//
// A client that is gone is noticed by the poller, by a read, by a failed write,
// or by the kernel after TCP_USER_TIMEOUT (Linux); a WebSocket also by a pong
// that does not come. A client whose kernel acknowledges nothing for the write
// timeout, while there is something to write, is ended with slow_reader; until
// then it costs one worker and its buffer, and another worker takes that one's
// place. A panic in a callback ends its own stream with internal_error.
package transport
