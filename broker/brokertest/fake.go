package brokertest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// Op names a call that a Fake records and can be told to fail or to hold.
type Op string

// The calls of a Source and its queues that take part in a script.
const (
	OpOpen      Op = "open"
	OpBind      Op = "bind"
	OpUnbind    Op = "unbind"
	OpClose     Op = "close"     // of a queue
	OpExchanges Op = "exchanges" // the listing
	OpShutdown  Op = "shutdown"  // Close of the source
)

// Call is one recorded call. It is recorded when it comes in, before it is held
// or fails.
type Call struct {
	Op Op
	// Stream is that of the queue; empty for calls of the source but OpOpen.
	Stream string
	// Bindings are those the caller passed.
	Bindings []broker.Binding
}

// Fake is a scripted broker.Source. Make it with NewFake. All methods are safe
// for concurrent use.
type Fake struct {
	mu        sync.Mutex // guards everything below
	queues    []*FakeQueue
	calls     []Call
	failures  map[Op][]error
	holds     map[Op]chan struct{}
	exchanges []broker.Exchange
	health    broker.Health
	changed   chan struct{} // closed and replaced at every change
	closed    bool
}

var _ broker.Source = (*Fake)(nil)

// NewFake returns a source that is ready, knows no exchange and does whatever
// it is asked at once.
func NewFake() *Fake {
	return &Fake{
		failures: make(map[Op][]error),
		holds:    make(map[Op]chan struct{}),
		health:   broker.Health{Ready: true},
		changed:  make(chan struct{}),
	}
}

// Fail makes the next calls of op answer these errors, one each and in this
// order; nil lets a call through. A close that fails has closed all the same.
func (f *Fake) Fail(op Op, errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures[op] = append(f.failures[op], errs...)
}

// Hold makes calls of op wait, from now until release is called or their
// context is done. A held call takes its failure when it is released. Release
// may be called more than once.
func (f *Fake) Hold(op Op) (release func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	f.holds[op] = gate
	f.mu.Unlock()
	return sync.OnceFunc(func() {
		f.mu.Lock()
		if f.holds[op] == gate {
			delete(f.holds, op)
		}
		f.mu.Unlock()
		close(gate)
	})
}

// SetExchanges says which exchanges there are, for Exchanges and ExchangeType.
// It has no bearing on what can be bound.
func (f *Fake) SetExchanges(exchanges ...broker.Exchange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exchanges = slices.Clone(exchanges)
	slices.SortFunc(f.exchanges, byName)
}

// SetHealth says what Health answers.
func (f *Fake) SetHealth(h broker.Health) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health = h
}

// Calls returns what was recorded, in the order it came in: of the ops named,
// or all of it.
func (f *Fake) Calls(ops ...Op) []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Call
	for _, c := range f.calls {
		if len(ops) == 0 || slices.Contains(ops, c.Op) {
			out = append(out, c)
		}
	}
	return out
}

// Queues returns every queue that was ever opened, in that order, closed ones
// included.
func (f *Fake) Queues() []*FakeQueue {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.queues)
}

// Queue returns the newest queue of the stream, nil if there was none.
func (f *Fake) Queue(stream string) *FakeQueue {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range slices.Backward(f.queues) {
		if q.stream == stream {
			return q
		}
	}
	return nil
}

// Until returns when cond holds, or with ctx's error. It asks again after every
// call, ack and close that the fake sees. cond runs without a lock of the fake
// held. Inside a synctest bubble synctest.Wait is the simpler tool.
func (f *Fake) Until(ctx context.Context, cond func() bool) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Open implements broker.Source.
func (f *Fake) Open(ctx context.Context, spec broker.QueueSpec) (broker.Queue, error) {
	if err := f.enter(ctx, Call{Op: OpOpen, Stream: spec.Stream, Bindings: slices.Clone(spec.Bindings)}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed()
	}
	q := newFakeQueue(f, spec)
	f.queues = append(f.queues, q)
	f.noteLocked()
	return q, nil
}

// Exchanges implements broker.Source.
func (f *Fake) Exchanges(ctx context.Context) ([]broker.Exchange, error) {
	if err := f.enter(ctx, Call{Op: OpExchanges}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.exchanges), nil
}

// ExchangeType implements broker.Source.
func (f *Fake) ExchangeType(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.exchanges {
		if e.Name == name {
			return e.Type, true
		}
	}
	return "", false
}

// Health implements broker.Source.
func (f *Fake) Health() broker.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

// Close implements broker.Source: it closes every queue.
func (f *Fake) Close(ctx context.Context) error {
	err := f.enter(ctx, Call{Op: OpShutdown})
	f.mu.Lock()
	f.closed = true
	queues := slices.Clone(f.queues)
	f.noteLocked()
	f.mu.Unlock()
	for _, q := range queues {
		q.shut()
	}
	return err
}

// enter records a call and lets it through as the script says.
func (f *Fake) enter(ctx context.Context, call Call) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.noteLocked()
	gate := f.holds[call.Op]
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return timeout(ctx)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if errs := f.failures[call.Op]; len(errs) > 0 {
		f.failures[call.Op] = errs[1:]
		if errs[0] != nil {
			return errs[0]
		}
	}
	if ctx.Err() != nil {
		return timeout(ctx)
	}
	return nil
}

func (f *Fake) note() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noteLocked()
}

func (f *Fake) noteLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func byName(a, b broker.Exchange) int {
	switch {
	case a.Name < b.Name:
		return -1
	case a.Name > b.Name:
		return 1
	}
	return 0
}

func timeout(ctx context.Context) error {
	return broker.Errorf(broker.CodeBrokerTimeout, "the broker did not answer in time").WithCause(ctx.Err())
}

func errClosed() error {
	return broker.Errorf(broker.CodeBrokerUnavailable, "the broker cannot be used now")
}

// sinceNow is the Since of an overflow that the test gives no time for.
func sinceNow(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}
