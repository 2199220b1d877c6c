package broker

import (
	"context"
	"time"
)

// Source is a message broker as the core consumes it. broker/rabbitmq and
// broker/memory implement it; brokertest.TestSource is its contract as a test.
// All methods are safe for concurrent use.
type Source interface {
	// Open makes a queue for one subscription, binds it and starts to consume.
	// It returns after the broker has confirmed every binding and the consumer;
	// what is published after that is delivered. On an error nothing is left at
	// the broker. Errors are *Error of CodeExchangeNotFound or CodeForbiddenBinding
	// (with Binding set to the index in spec.Bindings), CodeOverCapacity,
	// CodeBrokerUnavailable or CodeBrokerTimeout; CodeInvalidRequest with
	// Binding and Field "arguments" when the broker does not take the arguments.
	Open(ctx context.Context, spec QueueSpec) (Queue, error)

	// Exchanges lists the exchanges that are known, sorted by name: for a
	// source that cannot list them, those in use and those it was told of.
	Exchanges(ctx context.Context) ([]Exchange, error)

	// ExchangeType returns the type of the exchange ("topic", "direct",
	// "fanout", "headers", or another the broker has), if it is known. It does
	// not block.
	ExchangeType(name string) (typ string, known bool)

	// Health says whether new work is welcome. It does not block.
	Health() Health

	// Close ends every queue and connection and returns when all goroutines
	// are gone, or with ctx's error.
	Close(ctx context.Context) error
}

// QueueSpec says what Open shall make.
type QueueSpec struct {
	// Stream is the stream id; it becomes part of the queue's name.
	Stream string
	// Bindings are bound in this order; there may be none.
	Bindings []Binding
}

// Queue is one subscription's queue, through all of its incarnations: when the
// connection, channel, consumer or queue is lost, the source makes a new one by
// itself and says so to the sink.
//
// Bind and Unbind are called one at a time; the rest is safe for concurrent use.
type Queue interface {
	// Start has everything that arrives, from Open on, go to the sink. It is
	// called once; what comes before is kept.
	Start(sink Sink)

	// Ack says that every delivery with a tag of at most tag has been appended
	// to the log. It does not block on the network longer than a write does. A
	// tag of an incarnation that is gone is ignored. A sink may call it.
	Ack(tag uint64)

	// Bind adds bindings. It returns after the broker has confirmed them all;
	// on an error it has undone those that it made itself. A binding that
	// exists already is fine. Errors as Open's; CodeBrokerUnavailable while the
	// queue is recovering. After success, recovery makes these bindings too.
	Bind(ctx context.Context, bindings []Binding) error

	// Unbind removes bindings; one that does not exist is fine. A binding whose
	// exchange is gone is removed all the same. On an error all are still bound.
	Unbind(ctx context.Context, bindings []Binding) error

	// Close deletes the queue. It returns when the broker has confirmed that,
	// the connection is lost, or ctx is done (then the rest is done behind
	// it). After it the sink gets nothing any more. A sink does not call it.
	Close(ctx context.Context) error
}

// Sink is the one way on which everything of a queue arrives, in the order in
// which it holds: *Delivery, *Overflow, *Recovering, *Recovered, *BindingsLost,
// *BindingsBack. The source calls it one event at a time, on whatever goroutine
// the event was found on: with RabbitMQ that is the one which reads the
// connection, so that a message changes goroutines no more than once on its way
// to a client's socket. So a sink waits for nobody, neither readers nor a
// broker's answer: while it works, the connection's other queues wait.
type Sink interface {
	// Take takes an event. A delivery is the source's again when Take returns,
	// with its body; strings and headers may be kept.
	Take(e Event)

	// Flush says that there is no more at hand, so that deliveries which Take
	// kept back to append them together must wait no longer.
	Flush()
}

// Prioritizer is what a Queue may be beside: one that is told whether anybody
// reads the subscription, so that after a loss those are made again first.
type Prioritizer interface {
	// SetPriority does not block; it is called with locks of the core held.
	SetPriority(attached bool)
}

// Event is one of *Delivery, *Overflow, *Recovering, *Recovered, *BindingsLost
// and *BindingsBack.
type Event interface{ event() }

// Delivery is a message. The core answers with Ack when it is in the log.
type Delivery struct {
	Message
	// Size is the size of a body above Limits.MaxMessageBytes that the source
	// did not keep, so that Body is empty; else it may be 0.
	Size int
	// Tag increases with each delivery of a queue, through all incarnations.
	Tag uint64
}

// Overflow says that the broker dropped messages from the queue (its length or
// byte bound, or their time to live).
type Overflow struct {
	// Missed is how many; -1 when even the count was lost.
	Missed int64
	// Since is a time before the first of them was dropped: they are missing
	// somewhere after what had been delivered by then, and before this event.
	Since time.Time
}

// Recovering says that the queue is lost and nothing comes until Recovered.
type Recovering struct{}

// Recovered says that a new incarnation of the queue is bound and consumed.
type Recovered struct {
	// Reason is GapBrokerReconnected when the connection was lost, else GapQueueLost.
	Reason GapReason
	// Missing has the ids of bindings whose exchange is not there; all others are bound.
	Missing []string
}

// BindingsLost says that exchanges were deleted under these bindings (by id).
type BindingsLost struct{ IDs []string }

// BindingsBack says that these bindings (by id), missing until now, are bound again.
type BindingsBack struct{ IDs []string }

func (*Delivery) event()     {}
func (*Overflow) event()     {}
func (*Recovering) event()   {}
func (*Recovered) event()    {}
func (*BindingsLost) event() {}
func (*BindingsBack) event() {}

// Exchange is an exchange as far as the source knows it.
type Exchange struct {
	Name string
	// Type is "topic", "direct", "fanout", "headers" or another, "" when unknown.
	Type string
}

// Health is what a source knows of its broker's health.
type Health struct {
	// Ready is true while the broker can be used.
	Ready bool
	// Overloaded is true while new subscriptions should be refused though the
	// broker can be used: an alarm, a slow round trip, a recovery under way.
	Overloaded bool
	// Reasons says in words why not Ready or Overloaded, and what an operator
	// should know. They are for the operator: /readyz shows the constant text.
	Reasons []string
	// RoundTrip is the last round trip through the broker; zero if none was measured.
	RoundTrip time.Duration
}
