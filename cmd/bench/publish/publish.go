package publish

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
)

// The ways to publish.
const (
	AMQP   = "amqp"   // to an exchange
	HTTP   = "http"   // POST with the body as it is, between Before and After
	Warren = "warren" // POST with the gateway's REST API (memory:// only)
)

// Target says where and how to publish.
type Target struct {
	Kind     string `json:"kind"`
	URL      string `json:"url"`      // amqp://… or http://…
	Exchange string `json:"exchange"` // AMQP only
	// What follows is for HTTP.
	Before      string `json:"before"`       // stands before each body
	After       string `json:"after"`        // and after it
	ContentType string `json:"content_type"` // empty: application/json
	Token       string `json:"token"`        // bearer token; empty: none
}

// Job says what to publish.
type Job struct {
	Target Target `json:"target"`
	Size   int    `json:"size"`  // of a body, in bytes
	Rate   int    `json:"rate"`  // messages per second; 0: as fast as the slowest reader follows
	Ahead  int    `json:"ahead"` // with rate 0: how many messages the publisher may be ahead of the slowest reader
	// Progress is the file in which the readers tell how far they are. The publisher knows from it where they begin.
	Progress string `json:"progress"`
}

const (
	// senders is how many connections publish at once when there is no rate, where each has to wait for an answer.
	senders = 4
	// breath is how long to wait for what is not there yet: readers that are behind, or the next message's time.
	breath = 200 * time.Microsecond
	// lookEvery is after how many messages the progress of the readers is looked at, at the latest.
	lookEvery = 16
)

// sender publishes one message and answers when it may be published again.
type sender interface {
	send(ctx context.Context, nanoseconds int64) error
	close()
}

// Publisher publishes until it is stopped.
type Publisher struct {
	job      Job
	progress *load.Progress
	begun    atomic.Int64 // messages that were begun, those before the publisher included
	sent     atomic.Int64 // messages that were sent
	cancel   context.CancelFunc
	tasks    sync.WaitGroup

	mu  sync.Mutex // guards err
	err error      // the first
}

// Start begins to publish.
func Start(ctx context.Context, job Job) (*Publisher, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &Publisher{job: job, cancel: cancel}
	var err error
	if job.Rate == 0 {
		if p.progress, err = load.OpenProgress(job.Progress); err != nil {
			cancel()
			return nil, err
		}
		p.begun.Store(p.progress.Get())
	}
	n := 1
	if job.Rate == 0 && job.Target.Kind != AMQP {
		n = senders
	}
	for range n {
		s, err := newSender(ctx, job)
		if err != nil {
			_, _ = p.Stop()
			return nil, err
		}
		p.tasks.Go(func() {
			defer s.close()
			p.run(ctx, s)
		})
	}
	return p, nil
}

func newSender(ctx context.Context, job Job) (sender, error) {
	if job.Target.Kind == AMQP {
		return newAMQP(job)
	}
	return newHTTP(ctx, job)
}

func (p *Publisher) run(ctx context.Context, s sender) {
	pace := p.follow
	if p.job.Rate > 0 {
		pace = p.clock()
	}
	for pace(ctx) {
		if err := s.send(ctx, time.Now().UnixNano()); err != nil {
			if ctx.Err() == nil {
				p.fail(err)
			}
			return
		}
		p.sent.Add(1)
	}
}

func (p *Publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// clock answers a function that waits until the next message is due. What is late is made up for.
func (p *Publisher) clock() func(context.Context) bool {
	begun := time.Now()
	return func(ctx context.Context) bool {
		n := p.begun.Add(1) - 1
		due := begun.Add(time.Duration(float64(n) / float64(p.job.Rate) * float64(time.Second)))
		return pause(ctx, time.Until(due))
	}
}

// follow waits until the slowest reader is near enough.
func (p *Publisher) follow(ctx context.Context) bool {
	n := p.begun.Add(1)
	if n%lookEvery != 0 {
		return ctx.Err() == nil
	}
	for n-p.progress.Get() > int64(p.job.Ahead) {
		if !pause(ctx, breath) {
			return false
		}
	}
	return ctx.Err() == nil
}

// pause waits for the duration, or until the context ends, and then answers false.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Stop ends publishing and answers how many messages were sent and what failed.
func (p *Publisher) Stop() (sent int64, err error) {
	p.cancel()
	p.tasks.Wait()
	if p.progress != nil {
		_ = p.progress.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent.Load(), p.err
}
