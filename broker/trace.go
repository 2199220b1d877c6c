package broker

import (
	"slices"
	"time"
)

// Tracer follows single messages through the gateway, for systems that trace
// requests. It must be safe for concurrent use and must not block.
type Tracer interface {
	// Received is asked about each message as it is taken from the source of the
	// subscription with the stream id. It returns nil for a message that nobody
	// follows, and must not keep m.
	Received(stream string, m *Message) Trace
}

// Trace is one message that is followed. A message that no reader ever takes is
// forgotten without a word.
type Trace interface {
	// Written says that the message was handed to a client's socket for the
	// first time. It is called at most once, without locks.
	Written(t Transport, at time.Time)
}

// Bounds of how many unwritten messages are followed, of a subscription and of
// all: without a reader nothing else would end them before the log does. Of one
// subscription the newest are, and none more once the process is at its bound.
const (
	maxTraces    = 256
	maxAllTraces = 16384
)

// traced is a message in the log that is followed until its first write.
type traced struct {
	offset uint64
	trace  Trace
}

// trace asks the tracer about a message.
func (b *Broker) trace(stream string, m *Message) Trace {
	if b.tracer == nil || b.following.Load() >= maxAllTraces {
		return nil
	}
	return b.tracer.Received(stream, m)
}

// follow takes over the traces of messages just appended, and forgets those of
// messages that left the log. s.mu is held.
func (s *Subscription) follow(traces []traced) {
	if len(traces) == 0 && len(s.traces) == 0 {
		return
	}
	before := len(s.traces)
	s.traces = append(s.traces, traces...)
	gone := max(0, len(s.traces)-maxTraces)
	for gone < len(s.traces) && s.traces[gone].offset < s.log.first {
		gone++
	}
	s.traces = slices.Delete(s.traces, 0, gone)
	s.followsSince(before)
}

// followsSince accounts for a change of the traces. s.mu is held.
func (s *Subscription) followsSince(before int) {
	s.broker.following.Add(int64(len(s.traces) - before))
	s.followed.Store(len(s.traces) > 0)
}

// written ends the traces of what the attachment has just handed to its socket.
func (s *Subscription) written(a *Attachment) {
	at := time.Now()
	var ended []traced
	s.mu.Lock()
	before := len(s.traces)
	s.traces = slices.DeleteFunc(s.traces, func(t traced) bool {
		mine := t.offset > a.before && t.offset <= a.given
		if mine {
			ended = append(ended, t)
		}
		return mine
	})
	s.followsSince(before)
	s.mu.Unlock()
	for _, t := range ended {
		t.trace.Written(a.transport, at)
	}
}
