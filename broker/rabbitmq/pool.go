package rabbitmq

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// errGaveUp is acquire's answer when the one who asked no longer waits.
var errGaveUp = errors.New("gave up waiting for a connection")

// pool has the connections that own queues. A connection is lent out by places, one for each queue.
type pool struct {
	src *Source

	mu      sync.Mutex // guards the rest, and each connection's used and idleSince
	conns   []*conn
	changed chan struct{} // closed and replaced whenever something below or above has changed
	opening bool          // a goroutine is connecting
	waiting int           // who waits for a place
	failed  error         // of the last attempt to connect; nil after a success and before the first
	closed  bool
}

func (p *pool) init(s *Source) {
	p.src = s
	p.changed = make(chan struct{})
}

// acquire returns a connection with a place taken on it, and opens one if need be. One who is not patient gets
// CodeBrokerUnavailable when the last attempt to connect failed. With errGaveUp done was closed first.
func (p *pool) acquire(done <-chan struct{}, patient bool) (*conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed {
			return nil, unavailable(errSourceClosed)
		}
		if c := p.roomy(); c != nil {
			c.used++
			return c, nil
		}
		p.connectLocked()
		if p.failed != nil && !patient {
			if limitReached(p.failed) {
				return nil, overCapacity(p.failed)
			}
			return nil, unavailable(p.failed)
		}
		changed := p.changed
		p.waiting++
		p.mu.Unlock()
		gaveUp := false
		select {
		case <-changed:
		case <-done:
			gaveUp = true
		}
		p.mu.Lock()
		p.waiting--
		if gaveUp {
			return nil, unavailable(errGaveUp)
		}
	}
}

// roomy returns the first connection with a free place, so that later ones run empty. The caller holds mu.
func (p *pool) roomy() *conn {
	for _, c := range p.conns {
		if c.used < c.limit {
			return c
		}
	}
	return nil
}

// release gives a place back.
func (p *pool) release(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.used--
	if c.used == 0 {
		c.idleSince = time.Now()
	}
	p.broadcast()
}

// connect opens a connection in the background, unless that is under way.
func (p *pool) connect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connectLocked()
}

func (p *pool) connectLocked() {
	if !p.opening && !p.closed {
		p.opening = p.src.spawn(p.open)
	}
}

// broadcast wakes everybody who waits in acquire. The caller holds mu.
func (p *pool) broadcast() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// open connects, for as long as there is no connection at all or somebody waits for a place.
func (p *pool) open() {
	for attempt := 0; ; attempt++ {
		c, err := p.src.openConn(p.number())
		if p.opened(c, err) {
			return
		}
		p.src.stats.failures.add()
		again := p.src.connectBackoff(attempt)
		p.src.log.Warn("cannot connect to the broker", slog.Any("error", err), slog.Duration("again_in", again.Round(time.Millisecond)))
		if !p.src.sleep(again) {
			return
		}
	}
}

// opened takes in the outcome of an attempt to connect, and reports whether it was the last.
func (p *pool) opened(c *conn, err error) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.broadcast()
	p.failed = err
	switch {
	case p.closed:
		last = true
		if c != nil {
			p.src.tasks.Go(c.close)
		}
	case err == nil:
		last = true
		c.idleSince = time.Now()
		p.conns = append(p.conns, c)
		c.start()
	default:
		last = len(p.conns) > 0 && p.waiting == 0
	}
	p.opening = p.opening && !last
	return last
}

// number returns the smallest one that no connection has, for its name.
func (p *pool) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 1
	for slices.ContainsFunc(p.conns, func(c *conn) bool { return c.number == n }) {
		n++
	}
	return n
}

// lost forgets a connection that has ended.
func (p *pool) lost(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(have *conn) bool { return have == c })
	if len(p.conns) == 0 {
		p.connectLocked()
	}
	p.broadcast()
}

// reap closes connections that have had no queue for a while, save the last, and
// channels that nobody wanted since it was last called.
func (p *pool) reap() {
	for _, c := range p.all() {
		p.src.spawn(c.lanes.trim)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := time.Now().Add(-p.src.opts.IdleTimeout)
	for i := len(p.conns) - 1; i > 0; i-- {
		if c := p.conns[i]; c.used == 0 && c.idleSince.Before(old) {
			p.conns = slices.Delete(p.conns, i, i+1)
			p.src.spawn(c.close)
		}
	}
}

// any returns some connection that is up, or nil.
func (p *pool) any() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) == 0 {
		return nil
	}
	return p.conns[0]
}

// all returns the connections that are up.
func (p *pool) all() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.conns)
}

// close ends all connections, behind its back.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, c := range p.conns {
		p.src.tasks.Go(c.close)
	}
	p.broadcast()
}

// maxConnectDelay is the most that an attempt to connect waits. A few in a second hurt nobody, and everything waits for them.
const maxConnectDelay = time.Second

// connectBackoff is backoff for connections.
func (s *Source) connectBackoff(attempt int) time.Duration {
	return jittered(s.opts.RecoverDelay, attempt, min(maxConnectDelay, s.opts.MaxRecoverDelay))
}

// backoff returns how long to wait after a number of failed attempts.
func (s *Source) backoff(attempt int) time.Duration {
	return jittered(s.opts.RecoverDelay, attempt, s.opts.MaxRecoverDelay)
}

// jittered doubles a delay for each attempt, up to a bound, and takes up to half of it off at random, so that thousands of
// queues and several gateways do not come back together.
func jittered(unit time.Duration, attempt int, most time.Duration) time.Duration {
	d := min(unit<<min(attempt, 16), most)
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter, no secret
}
