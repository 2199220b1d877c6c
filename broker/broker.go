package broker

import (
	"context"
	"errors"
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// closeTimeout bounds how long the deletion of one queue may take.
const closeTimeout = 10 * time.Second

// openTimeout bounds the making of a shared subscription, which goes on when
// the caller that began it is gone.
const openTimeout = 15 * time.Second

// Options are what New needs.
type Options struct {
	// Source is where messages come from. The caller closes it, after Close.
	Source Source
	// Limits are the bounds; see DefaultLimits.
	Limits Limits
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// LatencyHeader names the AMQP header in which publishers say when they
	// published, in milliseconds since 1970; "" takes the property timestamp,
	// which is in seconds. It feeds Frame.Age.
	LatencyHeader string
	// Tracer follows single messages; nil follows none, and costs nothing.
	Tracer Tracer
}

// Broker owns every subscription and the process budget. It is safe for
// concurrent use.
type Broker struct {
	source Source
	limits Limits
	logger *slog.Logger
	budget *budget
	counts counts
	stamp  string // Options.LatencyHeader
	tracer Tracer // nil for none
	// following is how many messages are followed that nobody has written yet.
	following atomic.Int64
	stop      chan struct{}
	stopping  context.Context //nolint:containedctx // ended by Interrupt, for what waits for the source
	interrupt context.CancelFunc
	wg        sync.WaitGroup // the reclaimer, every creation and every ending subscription

	mu       sync.Mutex // guards all below; taken under a subscription's mutex, never the other way round
	closed   bool
	opening  int // creations under way, which count as subscriptions …
	ending   int // … as do those whose queue is being deleted
	byID     map[string]*Subscription
	byStream map[string]*Subscription
	shared   map[string]*Subscription
	flights  map[string]*flight
}

// flight is the making of a shared subscription that several callers wait for.
type flight struct {
	bindings []Binding // as the leader has them
	done     chan struct{}
	sub      *Subscription
	err      error
	refused  bool // by the leader's own admission: the others try for themselves
}

// Spec says what subscription to make.
type Spec struct {
	// Bindings it starts with; there may be none on owned ones.
	Bindings []Binding
	// Payload says how bodies are written; "" is PayloadAuto.
	Payload PayloadMode
	// Linger is how long it outlives its last attachment; 0 is DefaultLinger.
	Linger time.Duration
	// Owner names the caller it belongs to.
	Owner string
	// StreamMade says that a stream made it rather than a create request.
	StreamMade bool
	// Expires is when the owner's token ends; zero is never.
	Expires time.Time
	// Admit, of Share alone, is asked right before a new one is made.
	Admit func() error
	// OnEnd is called exactly once, when nothing of the subscription is left.
	// It is not called when Create or Share fails.
	OnEnd func()
}

// New starts a broker over the source.
func New(opts Options) *Broker {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broker{
		source: opts.Source, limits: opts.Limits, logger: opts.Logger,
		stamp: opts.LatencyHeader, tracer: opts.Tracer,
		budget: newBudget(opts.Limits.MemoryBudget), stop: make(chan struct{}),
		byID: map[string]*Subscription{}, byStream: map[string]*Subscription{},
		shared: map[string]*Subscription{}, flights: map[string]*flight{},
	}
	b.stopping, b.interrupt = context.WithCancel(context.Background())
	b.wg.Go(b.reclaim)
	return b
}

// Source returns the source.
func (b *Broker) Source() Source { return b.source }

// Limits returns the bounds.
func (b *Broker) Limits() Limits { return b.limits }

// Create makes an owned subscription. It returns after the broker has confirmed
// every binding and the consumer. Errors: those of Source.Open, CodeOverCapacity
// at the process's cap, CodeInvalidRequest for too many bindings, CodeShuttingDown.
func (b *Broker) Create(ctx context.Context, spec Spec) (*Subscription, error) {
	return b.make(ctx, spec, "")
}

// Share returns the shared subscription of the spec's bindings and payload
// mode, and makes it if there is none. Callers that ask for the same one at the
// same time wait for one creation. Errors as Create's, and Admit's.
func (b *Broker) Share(ctx context.Context, spec Spec) (*Subscription, error) {
	if spec.Payload == "" {
		spec.Payload = PayloadAuto
	}
	key := string(spec.Payload) + " " + bindingsKey(spec.Bindings)
	for {
		b.mu.Lock()
		if sub, ok := b.shared[key]; ok {
			b.mu.Unlock()
			return sub, nil
		}
		f, under := b.flights[key]
		if !under {
			// The error stands until lead has another, so that a panic there is
			// none here.
			f = &flight{bindings: spec.Bindings, done: make(chan struct{}), err: errors.New("a shared subscription was not made")}
			b.flights[key] = f
		}
		b.mu.Unlock()
		if !under {
			b.lead(ctx, f, spec, key)
			return f.sub, f.err
		}
		select {
		case <-f.done:
			switch {
			case f.refused:
			case f.err != nil: // about a binding that this request may have elsewhere
				return nil, requestIndex(f.err, f.bindings, spec.Bindings)
			default:
				return f.sub, nil
			}
		case <-ctx.Done():
			return nil, Errorf(CodeBrokerTimeout, "the broker took too long").WithCause(ctx.Err())
		}
	}
}

// lead makes the shared subscription for all who wait in the flight.
func (b *Broker) lead(ctx context.Context, f *flight, spec Spec, key string) {
	defer func() {
		b.mu.Lock()
		delete(b.flights, key)
		b.mu.Unlock()
		close(f.done)
	}()
	if spec.Admit != nil {
		if err := spec.Admit(); err != nil {
			f.err, f.refused = err, true
			return
		}
	}
	// The others wait for it too, so it does not end with the leader's request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
	defer cancel()
	f.sub, f.err = b.make(ctx, spec, key)
}

func (b *Broker) make(ctx context.Context, spec Spec, sharedKey string) (*Subscription, error) {
	bindings := dedupe(spec.Bindings)
	if len(bindings) > b.limits.MaxBindings {
		return nil, Errorf(CodeInvalidRequest, "too many bindings for one subscription").WithField("bindings")
	}
	if argumentBytes(bindings) > maxArguments {
		return nil, errArguments()
	}
	if err := b.reserve(); err != nil {
		return nil, err
	}
	defer b.wg.Done()
	s := b.newSubscription(spec, bindings, sharedKey)
	ctx, cancel := b.interruptible(ctx)
	defer cancel()
	queue, err := b.source.Open(ctx, QueueSpec{Stream: s.stream, Bindings: bindings})
	if err = b.orInterrupted(err); err != nil {
		b.mu.Lock()
		b.opening--
		b.mu.Unlock()
		return nil, requestIndex(err, bindings, spec.Bindings)
	}
	s.queue = queue
	queue.Start(&s.pump) // until Close, which is dismantle's
	if err := b.register(s); err != nil {
		return nil, err
	}
	return s, nil
}

// reserve takes a place under the process's cap, and in wg.
func (b *Broker) reserve() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errShuttingDown()
	}
	if len(b.byStream)+b.opening+b.ending >= b.limits.MaxSubscriptions {
		e := Errorf(CodeOverCapacity, "the gateway has as many subscriptions as it may have")
		e.Limit = "max-subscriptions"
		e.RetryAfter = 5 * time.Second
		return e
	}
	b.opening++
	b.wg.Add(1) // under mu, so that Close cannot have stopped waiting
	return nil
}

func (b *Broker) newSubscription(spec Spec, bindings []Binding, sharedKey string) *Subscription {
	now := time.Now()
	s := &Subscription{
		broker: b, stream: newStreamID(), owner: spec.Owner, streamMade: spec.StreamMade,
		payload: spec.Payload, created: now, idleSince: now, expires: spec.Expires, linger: spec.Linger,
		madeKey: bindingsKey(bindings), sharedKey: sharedKey, onEnd: spec.OnEnd,
		changing: make(chan struct{}, 1), done: make(chan struct{}),
		log:      newRing(b.limits.LogFrames, b.limits.LogBytes),
		bindings: bindings, missing: map[string]struct{}{}, attachments: map[*Attachment]struct{}{},
	}
	s.pump.sub, s.pump.next = s, 1
	if sharedKey == "" {
		s.id = newSubscriptionID()
	}
	if s.payload == "" {
		s.payload = PayloadAuto
	}
	if s.linger <= 0 {
		s.linger = DefaultLinger
	}
	return s
}

// register makes an opened subscription known; if the broker was closed
// meanwhile it ends it instead. The caller has started its queue.
func (b *Broker) register(s *Subscription) error {
	b.mu.Lock()
	b.opening--
	closed := b.closed
	if !closed {
		b.enlist(s)
	}
	b.mu.Unlock()
	if closed {
		s.onEnd = nil
		s.End(EndShutdown)
		<-s.done
		return errShuttingDown()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.idleSince = time.Now()
		s.armLinger()
		s.setExpiresLocked(s.expires)
	}
	return nil
}

// enlist adds a subscription to the registry. b.mu is held.
func (b *Broker) enlist(s *Subscription) {
	b.byStream[s.stream] = s
	if s.Shared() {
		b.shared[s.sharedKey] = s
	} else {
		b.byID[s.id] = s
	}
}

// forget takes an ending subscription out of the registry, and sees to its
// dismantling; it counts until settled.
func (b *Broker) forget(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ending++
	delete(b.byStream, s.stream)
	if s.Shared() {
		if b.shared[s.sharedKey] == s {
			delete(b.shared, s.sharedKey)
		}
	} else {
		delete(b.byID, s.id)
	}
	b.wg.Go(s.dismantle) // under mu, so that Close, which finds it no more, cannot have stopped waiting
}

// settled says that nothing is left of a forgotten subscription.
func (b *Broker) settled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ending--
}

// Get returns the owned subscription with the id.
func (b *Broker) Get(id string) (*Subscription, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.byID[id]
	return s, ok
}

// ByStream returns the subscription, owned or shared, whose log has the stream id.
func (b *Broker) ByStream(stream string) (*Subscription, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.byStream[stream]
	return s, ok
}

// Owned returns the owned subscriptions of the owner, oldest first.
func (b *Broker) Owned(owner string) []*Subscription {
	var subs []*Subscription
	b.mu.Lock()
	for _, s := range b.byID {
		if s.owner == owner {
			subs = append(subs, s)
		}
	}
	b.mu.Unlock()
	sort.Slice(subs, func(i, j int) bool { return subs[i].created.Before(subs[j].created) })
	return subs
}

// All returns every subscription, in no order.
func (b *Broker) All() []*Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	subs := make([]*Subscription, 0, len(b.byStream))
	for _, s := range b.byStream {
		subs = append(subs, s)
	}
	return subs
}

// reclaim shrinks logs toward their fair share whenever memory is short.
func (b *Broker) reclaim() {
	for {
		select {
		case <-b.stop:
			return
		case <-b.budget.kick:
		}
		subs := b.All()
		sizes := make([]int64, len(subs))
		for i, s := range subs {
			sizes[i] = s.logBytes.Load()
		}
		// An eighth below the budget, so that this does not run at each message.
		level := fairShare(sizes, b.budget.limit-b.budget.limit/8)
		b.budget.level.Store(level)
		for _, s := range subs {
			if s.logBytes.Load() > level {
				s.squeeze(level)
			}
		}
	}
}

// Close ends every subscription, refuses new ones, and returns when all
// goroutines are gone, or with ctx's error.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	b.mu.Unlock()
	if first {
		close(b.stop)
	}
	for _, s := range b.All() {
		s.End(EndShutdown)
	}
	gone := make(chan struct{})
	go func() {
		b.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("subscriptions are still ending"), ctx.Err())
	}
}

// Interrupt has what waits for the source answer CodeShuttingDown, and what
// would wait from now on. Subscriptions and streams go on. It does not block.
func (b *Broker) Interrupt() { b.interrupt() }

// interruptible returns a context that Interrupt ends, too.
func (b *Broker) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.stopping, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// orInterrupted returns err, or CodeShuttingDown if it is Interrupt's doing.
func (b *Broker) orInterrupted(err error) error {
	if b.stopping.Err() == nil || CodeOf(err) != CodeBrokerTimeout && CodeOf(err) != CodeBrokerUnavailable {
		return err
	}
	return errShuttingDown().WithCause(err)
}

func errShuttingDown() *Error {
	e := Errorf(CodeShuttingDown, "the gateway is shutting down")
	e.RetryAfter = time.Second
	return e
}
