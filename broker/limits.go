package broker

import "time"

// Limits are the bounds the core itself keeps. Rates and counts per caller are
// kept by api's admission. The zero value is of no use: start from DefaultLimits.
type Limits struct {
	// LogFrames is how many events a log holds at most (--log-frames).
	LogFrames int
	// LogBytes is how many bytes a log holds at most; the newest event always
	// stays, whatever its size (--log-bytes).
	LogBytes int
	// MemoryBudget is how many bytes all logs together hold; under pressure
	// each shrinks toward its fair share (--memory-budget).
	MemoryBudget int64
	// MaxMessageBytes is the largest body that enters a log; a larger message
	// becomes a gap "oversized" (--max-message-bytes).
	MaxMessageBytes int
	// QueueBacklog is how many messages of a subscription the source may hold
	// that are in no log yet: what a queue holds and what is unacknowledged.
	QueueBacklog int
	// MaxBindings is how many bindings a subscription has at most (--max-bindings).
	MaxBindings int
	// FormerBindings is how many bindings that are gone a subscription remembers
	// for Reach; 0: none, where nobody asks.
	FormerBindings int
	// MaxAttachments is how many attachments an owned subscription has at most (--max-attachments).
	MaxAttachments int
	// MaxSubscriptions is how many subscriptions there are at most, owned and shared (--max-subscriptions).
	MaxSubscriptions int
}

// DefaultLimits returns the defaults of the contract.
func DefaultLimits() Limits {
	return Limits{
		LogFrames:        16384,
		LogBytes:         8 << 20,
		MemoryBudget:     256 << 20,
		MaxMessageBytes:  1 << 20,
		QueueBacklog:     10_128,
		MaxBindings:      64,
		FormerBindings:   128,
		MaxAttachments:   1000,
		MaxSubscriptions: 10000,
	}
}

// Lingers of the contract: how long a subscription outlives its last attachment.
const (
	DefaultLinger       = 60 * time.Second
	DefaultStreamLinger = 30 * time.Second
	MaxLinger           = 600 * time.Second
)
