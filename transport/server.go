package transport

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// Options are what a Server can be told. Zero durations and rates mean the default.
type Options struct {
	// Heartbeat is after how long without any other frame a ping is sent.
	// Default: 15 s. Much less than that costs a write per idle stream.
	Heartbeat time.Duration
	// WriteTimeout is how long a client may take nothing before its stream is
	// ended with slow_reader. Default: 20 s.
	WriteTimeout time.Duration
	// DrainWindow is how long Drain takes at most. Default: 8 s.
	DrainWindow time.Duration
	// AuthTimeout is how long a WebSocket that brought no token may take to
	// send its auth message. Default: 5 s.
	AuthTimeout time.Duration
	// CreateRate is how many subscriptions per second the process makes; the
	// time to come back after a drain is spread by it. Default: 100.
	CreateRate float64
	// Problem encodes an error as a problem document: one JSON object without
	// line breaks. Required.
	Problem func(*broker.Error) []byte
	// Logger gets a line for each stream that ends, at most one per reason in
	// ten seconds. Default: none.
	Logger *slog.Logger
	// OnEnd, if set, is called once for each stream that ended, on the stream's
	// goroutine.
	OnEnd func(StreamEnd)
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Heartbeat, 15*time.Second)
	def(&o.WriteTimeout, 20*time.Second)
	def(&o.DrainWindow, 8*time.Second)
	def(&o.AuthTimeout, 5*time.Second)
	if o.CreateRate <= 0 {
		o.CreateRate = 100
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Session is the caller behind a stream, as api knows it. Its methods but
// Closed are called by one goroutine at a time; they may block for as long as
// their context lives, and hold up nothing but further requests of this stream.
type Session interface {
	// Allow counts one request of the caller; its error is what the client reads.
	Allow() error
	// Bind adds the bindings, a JSON array as REST takes it, and returns the
	// subscription as REST answers it.
	Bind(ctx context.Context, bindings json.RawMessage) (json.RawMessage, error)
	// Unbind removes bindings by content.
	Unbind(ctx context.Context, bindings json.RawMessage) (json.RawMessage, error)
	// Auth replaces the caller's token; the result is nil on a shared subscription.
	Auth(ctx context.Context, token string) (json.RawMessage, error)
	// Resource is the subscription as REST answers it, nil on a shared one: what
	// the ok of pause and resume carries.
	Resource() json.RawMessage
	// Closed is called exactly once, when the stream has ended, after its last
	// request and after Attachment.Close.
	Closed()
}

// Server runs the streams of both transports. Its methods are safe for
// concurrent use.
type Server struct {
	opts  Options
	epoch time.Time // zero of the streams' clock
	// sinceEpoch is how much later that is than the zero of the frames' clock.
	sinceEpoch time.Duration
	draining   atomic.Bool
	drained    atomic.Int64 // how many streams were open when the drain began
	wheel      *wheel
	poll       *poller
	workers    *workers
	// base ends at Close: what WebSocket requests wait for ends with it.
	base   context.Context //nolint:containedctx // the server's life, not a request's
	cancel context.CancelFunc

	mu       sync.Mutex // guards closed and what follows from it
	closed   bool       // no stream and no refusal starts any more
	streams  tally
	goodbyes tally          // refusals that are still being said
	helpers  sync.WaitGroup // wheel and poller

	sse, ws  counters
	closes   reasonCounts
	refusals reasonCounts
	ends     broker.Seldom[Reason]
	requests atomic.Uint64
}

// New returns a Server. Close ends its two goroutines.
func New(opts Options) *Server {
	s := &Server{opts: opts.withDefaults(), epoch: time.Now()}
	s.sinceEpoch = s.epoch.Sub(broker.Epoch())
	s.base, s.cancel = context.WithCancel(context.Background())
	s.wheel = newWheel(s.opts.Heartbeat, s.now)
	s.poll = newPoller(s.opts.Logger)
	s.workers = newWorkers(s.now)
	s.helpers.Go(func() { s.wheel.run(s.base) })
	s.helpers.Go(s.poll.run)
	return s
}

// now is the time since New: cheap, monotonic, and fits an atomic.
func (s *Server) now() time.Duration { return time.Since(s.epoch) }

// Draining reports whether Drain or Close has begun, so that new streams are refused.
func (s *Server) Draining() bool { return s.draining.Load() }

// Open returns how many streams there are now.
func (s *Server) Open() (sse, ws int) {
	return int(s.sse.open.Load()), int(s.ws.open.Load())
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		SSE: s.sse.snapshot(), WS: s.ws.snapshot(),
		Closes: s.closes.snapshot(), Refusals: s.refusals.snapshot(), Requests: s.requests.Load(),
	}
}

// Close ends every stream at once and returns when all goroutines are gone.
// Drain first for clients to be told.
func (s *Server) Close() {
	s.draining.Store(true)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wheel.each(func(st *stream) { st.abort() })
	<-s.streams.empty()
	<-s.goodbyes.empty()
	s.workers.close()
	s.poll.close()
	s.helpers.Wait()
}

// enter registers st and counts it, unless no stream may start any more; leave
// is its counterpart.
func (s *Server) enter(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.draining.Load() {
		return false
	}
	s.streams.add()
	s.wheel.add(st)
	c := s.counters(st.transport)
	c.open.Add(1)
	c.opened.Add(1)
	return true
}

func (s *Server) leave(st *stream) {
	s.wheel.remove(st)
	s.counters(st.transport).open.Add(-1)
	s.streams.done()
}

// refusing counts a goroutine that only says goodbye.
func (s *Server) refusing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.goodbyes.add()
	return true
}

// byeFrame returns the last frame of a stream that ends for the reason.
func (s *Server) byeFrame(reason Reason, after time.Duration) broker.Frame {
	retry := retryAfter(after)
	if reason == ReasonShuttingDown { // whatever the refusal says: those who come back shall not come together
		sse, ws := s.Open()
		// At least as many come back as there were when the drain began.
		retry = drainRetryMS(max(sse+ws, int(s.drained.Load())), s.opts.CreateRate)
	}
	return bye(reason, retry)
}

// refusal counts a refusal and returns its reason and its bye.
func (s *Server) refusal(err *broker.Error) (Reason, broker.Frame) {
	reason := ReasonOf(err.Code)
	s.refusals.add(reason)
	return reason, s.byeFrame(reason, err.RetryAfter)
}

func errShuttingDown() *broker.Error {
	return broker.Errorf(broker.CodeShuttingDown, "the gateway is shutting down")
}

func (s *Server) counters(t broker.Transport) *counters {
	if t == broker.WS {
		return &s.ws
	}
	return &s.sse
}

// tally counts goroutines. Unlike a WaitGroup it may go on counting while
// somebody waits.
type tally struct {
	mu   sync.Mutex // guards all below
	n    int
	zero chan struct{} // closed when n comes to 0; nil while nobody waits
}

func (t *tally) add() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.zero != nil {
		close(t.zero)
		t.zero = nil
	}
}

// empty returns a channel that is closed as soon as nothing is counted.
func (t *tally) empty() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if t.zero == nil {
		t.zero = make(chan struct{})
	}
	return t.zero
}
