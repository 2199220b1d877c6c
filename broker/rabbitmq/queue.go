package rabbitmq

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/warren-gateway/warren/broker"
)

// eventsBuffer is how many events wait for the core, so that it finds some to append together.
const eventsBuffer = 64

// queue is one subscription's queue through its incarnations.
type queue struct {
	src    *Source
	stream string
	events chan broker.Event
	// wake has a token when there are posts.
	wake chan struct{}
	// closing is closed by shut, ended when run is over, removed when nothing is left at the broker.
	closing, ended, removed chan struct{}
	removing                sync.Once
	urgent                  atomic.Bool

	// change is held (it has a token) by who changes bindings or the incarnation; this includes waiting for the broker.
	change chan struct{}

	mu           sync.Mutex // guards the rest
	closed       bool
	bounds       []*bound
	conn         *conn        // where it has a place; nil: nowhere
	inc          *incarnation // nil while it is being made again
	incarnations uint64
	lastTag      uint64 // of the incarnations before
	posts        []any  // *rebuilt or broker.Event, for run to send in this order
	burst        burst
}

// bound is a binding that the queue has, or would have if its exchange were there.
type bound struct {
	binding broker.Binding
	missing bool
	// lost is set when the exchange was found missing while a new incarnation was under way, which may have been bound before.
	lost bool
}

// rebuilt is a post: from here on deliveries are those of a new incarnation.
type rebuilt struct {
	inc   *incarnation
	event *broker.Recovered
}

var _ broker.Queue = (*queue)(nil)

func newQueue(s *Source, spec broker.QueueSpec) *queue {
	q := &queue{
		src:     s,
		stream:  spec.Stream,
		events:  make(chan broker.Event, eventsBuffer),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
		removed: make(chan struct{}),
		change:  make(chan struct{}, 1),
	}
	q.add(spec.Bindings)
	return q
}

// start begins to deliver.
func (q *queue) start(c *conn, inc *incarnation) {
	q.mu.Lock()
	q.conn, q.inc = c, inc
	q.mu.Unlock()
	if !q.src.spawn(func() { q.run(inc) }) {
		close(q.events)
		close(q.ended)
	}
}

// Events implements broker.Queue.
func (q *queue) Events() <-chan broker.Event { return q.events }

// SetPriority says whether somebody reads the subscription: such queues are made again first after a loss.
func (q *queue) SetPriority(attached bool) { q.urgent.Store(attached) }

// run sends everything that is sent on events.
func (q *queue) run(inc *incarnation) {
	defer close(q.ended)
	defer close(q.events)
	deliveries := inc.deliveries
	for {
		select {
		case d, ok := <-deliveries:
			if ok && d.Redelivered {
				inc.took(d.DeliveryTag) // and nobody sees it
			}
			if !ok || d.Redelivered {
				deliveries = nil
				q.lose(inc)
				continue
			}
			if !q.send(convert(&d, inc.base+inc.took(d.DeliveryTag))) {
				return
			}
		case <-q.wake:
			next, ok := q.sendPosts()
			if !ok {
				return
			}
			if next != nil {
				inc, deliveries = next, next.deliveries
			}
		case <-q.closing:
			return
		}
	}
}

// send sends an event, and reports false when the queue is closed.
func (q *queue) send(e broker.Event) bool {
	select {
	case q.events <- e:
		return true
	default:
	}
	select {
	case q.events <- e:
		return true
	case <-q.closing:
		return false
	}
}

// post has an event sent after those before. The caller holds mu.
func (q *queue) post(e any) {
	q.posts = append(q.posts, e)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// sendPosts sends what was posted, up to a new incarnation, which it returns.
func (q *queue) sendPosts() (next *incarnation, ok bool) {
	for {
		q.mu.Lock()
		if len(q.posts) == 0 {
			q.posts = nil
			q.mu.Unlock()
			return next, true
		}
		post := q.posts[0]
		q.posts = q.posts[1:]
		q.mu.Unlock()
		switch post := post.(type) {
		case *rebuilt:
			next = post.inc
			ok = q.send(post.event)
		case broker.Event:
			ok = q.send(post)
		}
		if !ok {
			return nil, false
		}
	}
}

// lose begins to make the queue again. run calls it when nothing more comes of an incarnation.
func (q *queue) lose(inc *incarnation) {
	reason := broker.GapQueueLost
	if inc.conn.IsClosed() {
		reason = broker.GapBrokerReconnected
	}
	q.mu.Lock()
	q.inc = nil
	q.lastTag = inc.base + inc.delivered.Load()
	if reason == broker.GapBrokerReconnected {
		// What was still to be counted is gone with the connection.
		q.endBurst(unknown)
	}
	q.post(&broker.Recovering{})
	q.mu.Unlock()
	if reason == broker.GapQueueLost {
		q.src.log.Warn("queue lost; making it again", slog.String("stream", q.stream), slog.Any("error", inc.lane.reason()))
	}
	q.src.stats.recoveries.add()
	q.src.stats.recovering.Add(1)
	q.src.spawn(func() {
		defer q.src.stats.recovering.Add(-1)
		q.rebuild(inc, reason)
	})
}

// shut ends the events. Nothing is sent after it when ended is closed.
func (q *queue) shut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.closing)
	}
}

// Close implements broker.Queue.
func (q *queue) Close(ctx context.Context) error {
	q.shut()
	<-q.ended // It waits for nobody.
	q.removing.Do(func() {
		if !q.src.spawn(q.remove) {
			close(q.removed) // The connections are being closed, and take the queues with them.
		}
	})
	select {
	case <-q.removed:
		return nil
	case <-ctx.Done():
		return interrupted(ctx)
	}
}

// remove leaves nothing at the broker.
func (q *queue) remove() {
	defer close(q.removed)
	q.change <- struct{}{} // for ever: there are no more changes
	q.mu.Lock()
	c, inc := q.conn, q.inc
	q.conn, q.inc = nil, nil
	bindings := q.bindings()
	q.mu.Unlock()
	q.src.exchanges.unuse(q, bindings)
	q.src.drop(q)
	if inc != nil {
		inc.discard()
	}
	if c != nil {
		c.forget(q)
		q.src.pool.release(c)
	}
}

// wanted returns the bindings to make a new incarnation with, and the ids of the others: when recovering, those whose exchange
// is known to be missing, which would only cost the quick way.
func (q *queue) wanted(m mode) (bindings []broker.Binding, missing []string) {
	q.mu.Lock()
	all := q.bindings()
	q.mu.Unlock()
	if m == strict {
		return all, nil
	}
	for _, b := range all {
		if q.src.exchanges.isMissing(b.Exchange()) {
			missing = append(missing, b.ID())
		} else {
			bindings = append(bindings, b)
		}
	}
	return bindings, missing
}

// bindings returns all of them. The caller holds mu.
func (q *queue) bindings() []broker.Binding {
	all := make([]broker.Binding, len(q.bounds))
	for i, b := range q.bounds {
		all[i] = b.binding
	}
	return all
}
