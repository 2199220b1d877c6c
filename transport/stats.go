package transport

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// Stats is a snapshot of a Server's counters. All but Open only ever grow.
type Stats struct {
	SSE, WS TransportStats
	// Closes counts the streams that ended, by reason; ReasonClientGone too.
	Closes map[Reason]uint64
	// Refusals counts the streams that were refused with a bye, by reason.
	Refusals map[Reason]uint64
	// Requests counts WebSocket requests, whatever came of them.
	Requests uint64
}

// TransportStats counts one transport's work.
type TransportStats struct { //nolint:revive // Stats is that of a Server
	// Open is how many streams there are now.
	Open int64
	// Opened is how many there have been.
	Opened uint64
	// Frames counts frames of all types but bye written, Messages those of type message.
	Frames, Messages uint64
	// Bytes counts what was written to sockets, framing included, without the bye and what goes with it.
	Bytes uint64
	// Writes counts what was handed to a socket at once: one system call each,
	// more where a client takes it in parts (on HTTP/2: flushes).
	Writes uint64
	// FromReceipt is how long messages took from when the gateway received them
	// until they were with the socket, FromPublish from when their publisher says
	// to have published them. Of what a stream writes at once the first message
	// counts, which has waited longest, and only while the stream is live: what
	// came in before it was opened, or while it was paused, says nothing.
	FromReceipt, FromPublish Histogram
}

// StreamEnd says how a stream ended.
type StreamEnd struct {
	Transport broker.Transport
	Reason    Reason
	// Code is the close code, 1006 where nobody was left to get one.
	Code     int
	Duration time.Duration
	// Messages and Gaps count the frames of these types that were written.
	Messages, Gaps uint64
	Bytes          uint64
}

// counters are one transport's. Streams add to them once per write.
type counters struct {
	open                             atomic.Int64
	opened                           atomic.Uint64
	frames, messages, bytes, flushes atomic.Uint64
	_                                [16]byte // two of them do not share a cache line
	fromReceipt, fromPublish         histogram
}

func (c *counters) snapshot() TransportStats {
	return TransportStats{
		Open: c.open.Load(), Opened: c.opened.Load(), Frames: c.frames.Load(),
		Messages: c.messages.Load(), Bytes: c.bytes.Load(), Writes: c.flushes.Load(),
		FromReceipt: c.fromReceipt.snapshot(), FromPublish: c.fromPublish.snapshot(),
	}
}

// reasonCounts counts by reason.
type reasonCounts struct {
	mu sync.Mutex // guards n
	n  map[Reason]uint64
}

func (c *reasonCounts) add(r Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[Reason]uint64)
	}
	c.n[r]++
}

// snapshot has every reason, so that a first occurrence is seen as an increase.
func (c *reasonCounts) snapshot() map[Reason]uint64 {
	n := map[Reason]uint64{ReasonClientGone: 0}
	for _, rule := range closeRules {
		n[rule.Reason] = 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(n, c.n)
	return n
}
