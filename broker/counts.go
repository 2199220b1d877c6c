package broker

import "sync/atomic"

// counts are the sums over all subscriptions there have been.
type counts struct {
	received, receivedBytes, evicted, dropped atomic.Uint64
	gaps                                      [len(gapReasons)]atomic.Uint64 // in the order of gapReasons
}

func (c *counts) gap(reason GapReason) {
	for i := range gapReasons {
		if gapReasons[i] == reason {
			c.gaps[i].Add(1)
			return
		}
	}
}

// drop counts what a broker dropped from a queue, where it is known.
func (c *counts) drop(missed int64) {
	if missed > 0 {
		c.dropped.Add(uint64(missed))
	}
}

// Stats is what the core holds and has done, at one moment.
type Stats struct {
	// Owned and Shared count subscriptions.
	Owned, Shared int
	// LogBytes is what all logs hold, MemoryBudget what they may.
	LogBytes, MemoryBudget int64
	// Received counts messages from the broker and ReceivedBytes their bodies;
	// Evicted the events that left a log because it was full. They only grow.
	Received, ReceivedBytes, Evicted uint64
	// Dropped counts messages that the broker dropped from queues before they
	// were received, as far as their number is known. It only grows.
	Dropped uint64
	// Gaps counts gap frames by reason: those of the logs once each, those of
	// one reader once for that reader. They only grow.
	Gaps map[GapReason]uint64
}

// Stats returns what the core holds now.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	owned, all := len(b.byID), len(b.byStream)
	b.mu.Unlock()
	s := Stats{
		Owned: owned, Shared: all - owned,
		LogBytes: b.budget.used.Load(), MemoryBudget: b.budget.limit,
		Received: b.counts.received.Load(), ReceivedBytes: b.counts.receivedBytes.Load(), Evicted: b.counts.evicted.Load(),
		Dropped: b.counts.dropped.Load(),
		Gaps:    make(map[GapReason]uint64, len(gapReasons)),
	}
	for i, reason := range gapReasons {
		s.Gaps[reason] = b.counts.gaps[i].Load()
	}
	return s
}
