package memory

import (
	"sync"

	"github.com/warren-gateway/warren/broker"
)

// The types of exchanges.
const (
	typeTopic   = "topic"
	typeDirect  = "direct"
	typeFanout  = "fanout"
	typeHeaders = "headers"
)

func knownType(typ string) bool {
	switch typ {
	case typeTopic, typeDirect, typeFanout, typeHeaders:
		return true
	}
	return false
}

// exchange routes messages to queues. Publishers share its lock; only a change
// of its bindings excludes them.
type exchange struct {
	name string
	typ  string

	mu      sync.RWMutex // guards what follows
	router  router
	members map[*queue]*member
	free    []int // slots of members that are gone
	deleted bool

	scratch sync.Pool // of *scratch
}

// router finds the bindings that a message matches. Its methods run under the
// exchange's lock, match under the shared one.
type router interface {
	add(e *bound)
	remove(e *bound)
	// match calls s.hit for each matching binding, once or more often.
	match(s *scratch, key string, headers broker.Table)
}

// bound is one binding of one queue.
type bound struct {
	binding broker.Binding
	queue   *queue

	exchange *exchange // nil while it is missing; guarded by the broker's mu
	member   *member   // guarded by the exchange's mu, as what follows
	at       int       // its place in the router's set
	node     *topicNode
	want     *headerMatch
}

// member is a queue with at least one binding to the exchange.
type member struct {
	queue    *queue
	slot     int // its number in scratch.seen, lower than len(members)+len(free)
	bindings int
}

// scratch is the memory that routing one message takes.
type scratch struct {
	members []*member
	seen    bitset // by slot: members with several bindings that were hit

	// What the topic router walks with.
	nodes, next []*topicNode
	hashes      []*topicNode
	seenHash    bitset // by topicNode.slot
}

func newExchange(name, typ string) *exchange {
	x := &exchange{name: name, typ: typ, members: make(map[*queue]*member)}
	x.scratch.New = func() any { return new(scratch) }
	switch typ {
	case typeTopic:
		x.router = new(topicRouter)
	case typeDirect:
		x.router = make(directRouter)
	case typeHeaders:
		x.router = new(headersRouter)
	default:
		x.router = new(fanoutRouter)
	}
	return x
}

// check says what is wrong with a binding to this exchange.
func (x *exchange) check(b broker.Binding) *broker.Error {
	if x.typ != typeHeaders {
		return nil // RabbitMQ ignores arguments elsewhere.
	}
	_, err := newHeaderMatch(b.Arguments())
	return err
}

// bind puts a checked binding in force. The caller holds the broker's mu.
func (x *exchange) bind(e *bound) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.members[e.queue]
	if m == nil {
		m = &member{queue: e.queue, slot: len(x.members)}
		if n := len(x.free); n > 0 {
			m.slot, x.free = x.free[n-1], x.free[:n-1]
		}
		x.members[e.queue] = m
	}
	m.bindings++
	e.exchange, e.member = x, m
	x.router.add(e)
}

// unbind ends a binding. The caller holds the broker's mu.
func (x *exchange) unbind(e *bound) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.router.remove(e)
	if e.member.bindings--; e.member.bindings == 0 {
		delete(x.members, e.queue)
		x.free = append(x.free, e.member.slot)
	}
	e.exchange, e.member = nil, nil
}

// drop marks the exchange as deleted and returns the bindings it had, which
// are missing now. After it nothing is routed any more. The caller holds the
// broker's mu.
func (x *exchange) drop() []*bound {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.deleted = true
	var out []*bound
	for q := range x.members {
		for _, e := range q.bounds {
			if e.exchange == x {
				e.exchange, e.member, e.node, e.want = nil, nil, nil, nil
				out = append(out, e)
			}
		}
	}
	x.members, x.router = nil, nil
	return out
}

// route hands a message to every queue with a matching binding, once each, and
// says to how many. It is false on a deleted exchange. The lock is held until
// the message is in all of the queues, so that what is told about a binding
// after a change is told after everything that was routed before it.
func (x *exchange) route(m *broker.Message) (int, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.deleted {
		return 0, false
	}
	s := x.scratch.Get().(*scratch)
	x.router.match(s, m.RoutingKey, m.Properties.Headers)
	for _, to := range s.members {
		to.queue.push(m)
		if to.bindings > 1 {
			s.seen.unset(to.slot)
		}
	}
	n := len(s.members)
	clear(s.members) // The pool shall not keep queues that are gone.
	s.members = s.members[:0]
	x.scratch.Put(s)
	return n, true
}

// hit notes the queue of a matching binding, unless it is noted already: only
// one with several bindings can be.
func (s *scratch) hit(e *bound) {
	if e.member.bindings > 1 && !s.seen.set(e.member.slot) {
		return
	}
	s.members = append(s.members, e.member)
}

// set is an unordered set of bindings with constant-time removal.
type set []*bound

func (s *set) add(e *bound) {
	e.at = len(*s)
	*s = append(*s, e)
}

func (s *set) remove(e *bound) {
	last := len(*s) - 1
	moved := (*s)[last]
	(*s)[e.at], moved.at = moved, e.at
	(*s)[last] = nil
	*s = (*s)[:last]
}

// fanoutRouter matches every message.
type fanoutRouter struct{ all set }

func (r *fanoutRouter) add(e *bound)    { r.all.add(e) }
func (r *fanoutRouter) remove(e *bound) { r.all.remove(e) }

func (r *fanoutRouter) match(s *scratch, _ string, _ broker.Table) {
	for _, e := range r.all {
		s.hit(e)
	}
}

// directRouter matches messages whose key is the binding's.
type directRouter map[string]*set

func (r directRouter) add(e *bound) {
	key := e.binding.RoutingKey()
	if r[key] == nil {
		r[key] = new(set)
	}
	r[key].add(e)
}

func (r directRouter) remove(e *bound) {
	key := e.binding.RoutingKey()
	if r[key].remove(e); len(*r[key]) == 0 {
		delete(r, key)
	}
}

func (r directRouter) match(s *scratch, key string, _ broker.Table) {
	if same := r[key]; same != nil {
		for _, e := range *same {
			s.hit(e)
		}
	}
}

// bitset is a set of small numbers that grows as needed.
type bitset []uint64

// set adds n and reports whether it was not there.
func (b *bitset) set(n int) bool {
	for n/64 >= len(*b) {
		*b = append(*b, 0)
	}
	word, bit := &(*b)[n/64], uint64(1)<<(n%64)
	added := *word&bit == 0
	*word |= bit
	return added
}

// unset takes n away, which is there.
func (b bitset) unset(n int) { b[n/64] &^= 1 << (n % 64) }
