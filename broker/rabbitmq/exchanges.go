package rabbitmq

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// predeclared are the exchanges that every virtual host has.
var predeclared = map[string]string{
	"amq.direct":  amqp.ExchangeDirect,
	"amq.fanout":  amqp.ExchangeFanout,
	"amq.headers": amqp.ExchangeHeaders,
	"amq.match":   amqp.ExchangeHeaders,
	"amq.topic":   amqp.ExchangeTopic,
}

// exchanges knows the exchanges in use, probes them and tells their users when one goes or comes back.
type exchanges struct {
	src  *Source
	told map[string]string // types by name, as the operator said
	// kick asks for a probe of one exchange right now.
	kick     chan string
	unhealed []*queue // only watch uses it

	mu    sync.Mutex // guards the rest
	inUse map[string]*exchange
	// seen has the types that events named.
	seen map[string]string
	// attended are those to which bindings are being made, which are not in use before the broker has confirmed them.
	attended map[string]*attended
}

// attended is an exchange of which somebody wants to know whether it is deleted meanwhile.
type attended struct {
	people    int
	deletions int
}

// exchange is one that bindings of ours name.
type exchange struct {
	users map[*queue]int // how many bindings each has
	// missing is true from when the broker said NOT_FOUND until it is found.
	missing bool
}

func (x *exchanges) init(s *Source) {
	x.src = s
	x.told = s.opts.ExchangeTypes
	x.kick = make(chan string, 64)
	x.inUse = make(map[string]*exchange)
	x.seen = make(map[string]string)
	x.attended = make(map[string]*attended)
}

// attend is called before bindings are made. What it returns is called once, after they are in use or could not be made, and
// answers which of their exchanges were deleted meanwhile: a binding may have been confirmed before, and be gone.
func (x *exchanges) attend(bindings []broker.Binding) (deleted func() []string) {
	before := make(map[string]int)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range bindings {
		name := b.Exchange()
		if _, known := before[name]; known {
			continue
		}
		a := x.attended[name]
		if a == nil {
			a = &attended{}
			x.attended[name] = a
		}
		a.people++
		before[name] = a.deletions
	}
	return func() (names []string) {
		x.mu.Lock()
		defer x.mu.Unlock()
		for name, deletions := range before {
			a := x.attended[name]
			if a.deletions != deletions {
				names = append(names, name)
			}
			if a.people--; a.people == 0 {
				delete(x.attended, name)
			}
		}
		return names
	}
}

// use registers bindings that have just been bound: their exchanges are there.
func (x *exchanges) use(q *queue, bindings []broker.Binding) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range bindings {
		e := x.inUse[b.Exchange()]
		if e == nil {
			e = &exchange{users: make(map[*queue]int)}
			x.inUse[b.Exchange()] = e
		}
		e.users[q]++
		if e.missing {
			e.missing = false
			x.probeSoon(b.Exchange()) // others wait for it
		}
	}
}

// unuse strikes bindings off.
func (x *exchanges) unuse(q *queue, bindings []broker.Binding) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range bindings {
		e := x.inUse[b.Exchange()]
		if e == nil {
			continue
		}
		if e.users[q]--; e.users[q] <= 0 {
			delete(e.users, q)
		}
		if len(e.users) == 0 {
			delete(x.inUse, b.Exchange())
		}
	}
}

func (x *exchanges) isMissing(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.inUse[name]
	return e != nil && e.missing
}

// refused takes note of a binding that could not be made again.
func (x *exchanges) refused(b broker.Binding, err error) {
	if replyCode(err) == amqp.NotFound {
		x.setMissing(b.Exchange(), true)
		return
	}
	x.src.often.Warn("the broker refuses a binding that it allowed before; trying again with each probe",
		slog.String("exchange", b.Exchange()), slog.Any("error", err))
}

// setMissing reports whether the exchange is in use.
func (x *exchanges) setMissing(name string, missing bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if a := x.attended[name]; a != nil && missing {
		a.deletions++
	}
	e := x.inUse[name]
	if e != nil {
		e.missing = missing
	}
	return e != nil
}

func (x *exchanges) names() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	names := make([]string, 0, len(x.inUse))
	for name := range x.inUse {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (x *exchanges) users(name string) []*queue {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.inUse[name]
	if e == nil {
		return nil
	}
	users := make([]*queue, 0, len(e.users))
	for q := range e.users {
		users = append(users, q)
	}
	return users
}

// list is what the caller of Source.Exchanges gets.
func (x *exchanges) list() []broker.Exchange {
	names := x.names()
	for name := range x.told {
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	out := make([]broker.Exchange, len(names))
	for i, name := range names {
		typ, _ := x.typeOf(name)
		out[i] = broker.Exchange{Name: name, Type: typ}
	}
	return out
}

// typeOf answers what is always so, what an event said, or else what the operator said.
func (x *exchanges) typeOf(name string) (string, bool) {
	if typ, ok := predeclared[name]; ok {
		return typ, true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if typ, ok := x.seen[name]; ok {
		return typ, true
	}
	typ, ok := x.told[name]
	return typ, ok
}

// probeSoon asks for a probe without waiting; if that has no room, the next regular one comes soon enough.
func (x *exchanges) probeSoon(name string) {
	select {
	case x.kick <- name:
	default:
	}
}

// watch probes until the source closes.
func (x *exchanges) watch() {
	ticker := time.NewTicker(x.src.opts.ProbeInterval)
	defer ticker.Stop()
	p := prober{exchanges: x}
	defer p.close()
	for {
		select {
		case <-ticker.C:
			x.src.pool.reap()
			for _, name := range x.names() {
				p.probe(name)
			}
			x.heal()
		case name := <-x.kick:
			p.probe(name)
		case <-x.src.life.Done():
			return
		}
	}
}

// prober looks for exchanges, on one channel for as long as that lives.
type prober struct {
	*exchanges
	conn *conn
	ch   *amqp.Channel
}

// probe looks for an exchange and tells its users what changed.
func (p *prober) probe(name string) {
	if !p.open() {
		return // without a connection everything is being made again anyway
	}
	err := p.ch.ExchangeDeclarePassive(name, amqp.ExchangeTopic, false, false, false, false, nil) // it compares nothing
	switch {
	case err == nil:
		if p.setMissing(name, false) {
			p.back(name)
		}
	case replyCode(err) == amqp.NotFound:
		p.gone(name)
	default:
		p.src.log.Debug("cannot probe an exchange", slog.String("exchange", name), slog.Any("error", err))
	}
}

// open has a channel ready.
func (p *prober) open() bool {
	if p.ch != nil && !p.ch.IsClosed() {
		return true
	}
	p.conn, p.ch = p.src.pool.any(), nil
	if p.conn == nil {
		return false
	}
	ch, err := p.conn.Channel()
	if err != nil {
		return false
	}
	p.ch = ch
	return true
}

func (p *prober) close() {
	if p.ch != nil {
		_ = p.ch.Close() // The connection goes soon, too.
	}
}

// gone tells the users of an exchange that it was deleted.
func (x *exchanges) gone(name string) {
	if !x.setMissing(name, true) {
		return
	}
	for _, q := range x.users(name) {
		q.exchangeGone(name)
	}
}

// rebindConcurrency is how many queues are bound again at once when an exchange comes back.
const rebindConcurrency = 8

// back binds what was missing for want of an exchange that is there.
func (x *exchanges) back(name string) {
	var tasks sync.WaitGroup
	slots := make(chan struct{}, rebindConcurrency)
	for _, q := range x.users(name) {
		if !q.misses(name) {
			continue
		}
		slots <- struct{}{}
		tasks.Go(func() {
			defer func() { <-slots }()
			q.exchangeBack(name)
		})
	}
	tasks.Wait()
}
