package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// closeWithin is how long Close waits for the broker's answer before it closes a connection one-sidedly.
const closeWithin = 2 * time.Second

// Source consumes from one virtual host of a RabbitMQ broker. Make it with New. All methods are safe for concurrent use.
type Source struct {
	opts  Options
	addr  address
	log   *slog.Logger
	often *slog.Logger // for what may befall thousands of queues at once

	pool      pool
	gate      *gate
	exchanges exchanges
	canary    canary
	stats     stats

	permissions permissions
	frameMax    atomic.Int64 // of the newest connection, in bytes

	life  context.Context //nolint:containedctx // the source's own life, ended by Close; every goroutine of it ends with it
	end   context.CancelFunc
	tasks sync.WaitGroup // every goroutine

	mu     sync.Mutex // guards the rest; readers of connections take it, so nobody waits for the broker with it
	queues map[*queue]struct{}
	closed bool
}

var _ broker.Source = (*Source)(nil)

// New returns a source that connects in the background; the broker need not be there. Its errors are of the options, and
// name no secret.
func New(opts Options) (*Source, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	addr, err := parseAddress(opts)
	if err != nil {
		return nil, err
	}
	s := &Source{
		opts:   opts,
		addr:   addr,
		log:    opts.Logger,
		often:  slog.New(&seldom{Handler: opts.Logger.Handler()}),
		gate:   newGate(opts.RecoverConcurrency),
		queues: make(map[*queue]struct{}),
	}
	s.frameMax.Store(frameSize)
	s.life, s.end = context.WithCancel(context.Background())
	s.pool.init(s)
	s.exchanges.init(s)
	s.canary.init(s)
	s.pool.connect()
	s.tasks.Go(s.canary.run)
	s.tasks.Go(s.exchanges.watch)
	s.tasks.Go(s.exchanges.listen)
	return s, nil
}

// Open implements broker.Source. Beyond the errors documented there it answers CodeInvalidRequest when the exchange does not
// accept a binding's arguments, and CodeInternal when the broker refuses a queue for another reason than permissions and limits.
func (s *Source) Open(ctx context.Context, spec broker.QueueSpec) (broker.Queue, error) {
	for i, b := range spec.Bindings {
		if err := s.checkArguments(b.Arguments()); err != nil {
			return nil, err.WithBinding(i)
		}
	}
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.OperationTimeout)
	defer cancel()
	c, err := s.pool.acquire(ctx.Done(), false)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, errGaveUp) {
			return nil, interrupted(ctx)
		}
		return nil, err
	}
	type result struct {
		q   *queue
		err error
	}
	results := make(chan result) // without room: either it is taken, or the one who made it sees that nobody will
	started := s.spawn(func() {
		q, err := s.make(c, spec)
		select {
		case results <- result{q, err}:
		case <-ctx.Done():
			if q != nil {
				_ = q.Close(context.WithoutCancel(ctx))
			}
		}
	})
	if !started {
		return nil, unavailable(errSourceClosed)
	}
	select {
	case r := <-results:
		if r.err != nil {
			return nil, r.err
		}
		return r.q, nil
	case <-ctx.Done():
		return nil, interrupted(ctx)
	}
}

// make makes a queue on a connection of which a place has been acquired.
func (s *Source) make(c *conn, spec broker.QueueSpec) (*queue, error) {
	q := newQueue(s, spec)
	deleted := s.exchanges.attend(q.bindings())
	inc, _, err := c.make(q, strict)
	if err == nil && !s.adopt(q) {
		inc.discard()
		err = unavailable(errSourceClosed)
	}
	if err != nil {
		deleted()
		c.forget(q)
		s.pool.release(c)
		return nil, asIndexed(err, q.bindings(), spec.Bindings)
	}
	s.exchanges.use(q, q.bindings())
	for _, name := range deleted() {
		q.exchangeGone(name) // start tells
	}
	q.start(c, inc)
	return q, nil
}

// asIndexed makes an error about one of these bindings one about the same binding in the request, which may repeat some.
func asIndexed(err error, bindings, requested []broker.Binding) error {
	var e *broker.Error
	if !errors.As(err, &e) || e.Binding < 0 {
		return err
	}
	id := bindings[e.Binding].ID()
	return e.WithBinding(slices.IndexFunc(requested, func(b broker.Binding) bool { return b.ID() == id }))
}

// adopt registers a queue. It reports false when the source is closed.
func (s *Source) adopt(q *queue) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.queues[q] = struct{}{}
	return true
}

func (s *Source) drop(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.queues, q)
}

// spawn starts a goroutine that Close waits for. It reports false when the source is closed.
func (s *Source) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.tasks.Go(f)
	return true
}

// Exchanges implements broker.Source: the exchanges in use and those that the operator told.
func (s *Source) Exchanges(context.Context) ([]broker.Exchange, error) {
	return s.exchanges.list(), nil
}

// ExchangeType implements broker.Source.
func (s *Source) ExchangeType(name string) (string, bool) { return s.exchanges.typeOf(name) }

// Close implements broker.Source. The broker deletes the queues with their connections.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	queues := make([]*queue, 0, len(s.queues))
	for q := range s.queues {
		queues = append(queues, q)
	}
	s.mu.Unlock()
	s.end()

	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, q := range queues {
			q.shut() // waits for an ack that is being written
		}
		s.pool.close()
		s.tasks.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the connections to the broker: %w", ctx.Err())
	}
}

// sleep waits, and reports false when the source closes before.
func (s *Source) sleep(d time.Duration) bool { return wait(s.life.Done(), d) }

func wait(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}
