package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/warren-gateway/warren/broker"
)

// inboxCapacity is more events than a test leaves unread.
const inboxCapacity = 1 << 16

// Inbox is a queue whose events a test receives from a channel.
type Inbox struct {
	broker.Queue
	events chan broker.Event

	mu     sync.Mutex // held while an event is sent, so that none meets a closed channel
	closed bool
}

var _ broker.Sink = (*Inbox)(nil)

// Open opens a queue at the source and starts it with an Inbox as its sink.
func Open(ctx context.Context, src broker.Source, spec broker.QueueSpec) (*Inbox, error) {
	q, err := src.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	return NewInbox(q), nil
}

// NewInbox starts the queue with an Inbox as its sink.
func NewInbox(q broker.Queue) *Inbox {
	i := &Inbox{Queue: q, events: make(chan broker.Event, inboxCapacity)}
	q.Start(i)
	return i
}

// Events is the channel on which everything arrives, in order. What it brings
// is the test's to keep. It is closed by Close, and only then.
func (i *Inbox) Events() <-chan broker.Event { return i.events }

// Take implements broker.Sink. It panics when an event comes after Close, which
// is the source's fault, or when far too many are unread, which is the test's.
func (i *Inbox) Take(e broker.Event) {
	e = keep(e)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		panic("brokertest: an event after Close: " + describe(e))
	}
	select {
	case i.events <- e:
	default:
		panic(fmt.Sprintf("brokertest: nobody reads the Inbox: %d events wait", inboxCapacity))
	}
}

// Flush implements broker.Sink.
func (i *Inbox) Flush() {}

// Close closes the queue and then, whatever came of that, the channel. It may
// be called again.
func (i *Inbox) Close(ctx context.Context) error {
	err := i.Queue.Close(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closed {
		i.closed = true
		close(i.events)
	}
	return err
}

// keep returns an event that stays as it is when Take has returned.
func keep(e broker.Event) broker.Event {
	d, ok := e.(*broker.Delivery)
	if !ok {
		return e
	}
	kept := *d
	kept.Body = bytes.Clone(d.Body)
	return &kept
}
