package memory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/warren-gateway/warren/broker"
)

var (
	// ErrTypeConflict is the cause of Declare's error when the exchange is there with another type.
	ErrTypeConflict = errors.New("exchange exists with another type")
	// ErrReserved is the cause of the error of Declare and Delete for names that begin with "amq.".
	ErrReserved = errors.New("exchange name is reserved")
)

// maxExchanges bounds them, as nobody can delete one over HTTP, and each declaration copies the table.
const maxExchanges = 4096

// reservedPrefix begins the names that only the broker itself declares.
const reservedPrefix = "amq."

// Options are the bounds of every queue. A zero field means the default.
type Options struct {
	// QueueMaxLength is how many messages wait in a queue beyond those in flight;
	// default 10,000.
	QueueMaxLength int
	// QueueMaxBytes is how many bytes of body wait in a queue beyond those in flight;
	// default 64 MiB. The newest message always stays, whatever its size.
	QueueMaxBytes int
	// Prefetch is how many deliveries may be in flight, delivered and not yet
	// acknowledged; default 128.
	Prefetch int
}

func (o Options) withDefaults() Options {
	if o.QueueMaxLength <= 0 {
		o.QueueMaxLength = 10_000
	}
	if o.QueueMaxBytes <= 0 {
		o.QueueMaxBytes = 64 << 20
	}
	if o.Prefetch <= 0 {
		o.Prefetch = 128
	}
	return o
}

// Broker is an in-process message broker. Make it with New. All methods are
// safe for concurrent use.
type Broker struct {
	opts Options

	// exchanges is replaced as a whole, so that Publish finds an exchange
	// without a lock.
	exchanges atomic.Pointer[map[string]*exchange]
	closed    atomic.Bool

	// mu serialises what changes the topology; Publish does not take it. It
	// guards queues, missing and every queue's bounds, and is locked before
	// an exchange's mutex, which is locked before a queue's.
	mu     sync.Mutex
	queues map[*queue]struct{}
	// missing has the bindings whose exchange was deleted, by its name.
	missing map[string]map[*bound]struct{}
}

var _ broker.Source = (*Broker)(nil)

// New returns a broker with RabbitMQ's predeclared exchanges: amq.direct,
// amq.fanout, amq.headers, amq.match and amq.topic.
func New(opts Options) *Broker {
	b := &Broker{
		opts:    opts.withDefaults(),
		queues:  make(map[*queue]struct{}),
		missing: make(map[string]map[*bound]struct{}),
	}
	b.exchanges.Store(&map[string]*exchange{
		"amq.direct":  newExchange("amq.direct", typeDirect),
		"amq.fanout":  newExchange("amq.fanout", typeFanout),
		"amq.headers": newExchange("amq.headers", typeHeaders),
		"amq.match":   newExchange("amq.match", typeHeaders),
		"amq.topic":   newExchange("amq.topic", typeTopic),
	})
	return b
}

// Declare makes an exchange of type "topic", "direct", "fanout" or "headers",
// or finds it there with that type. Bindings that a deleted exchange of this
// name had are bound again. Errors are *broker.Error: CodeInvalidRequest with
// Field "name" or "type" (ErrTypeConflict in the chain when the type differs),
// CodeForbidden for a new name that begins with "amq." (ErrReserved),
// CodeOverCapacity where there are 4,096 exchanges, and CodeBrokerUnavailable
// after Close.
func (b *Broker) Declare(name, typ string) error {
	if err := checkExchangeName(name); err != nil {
		return err
	}
	if !knownType(typ) {
		return broker.Errorf(broker.CodeInvalidRequest, "an exchange is of type topic, direct, fanout or headers").WithField("type")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return errClosed()
	}
	if have := b.lookup(name); have != nil {
		if have.typ != typ {
			return broker.Errorf(broker.CodeInvalidRequest, "the exchange exists with type "+have.typ).WithField("type").WithCause(ErrTypeConflict)
		}
		return nil
	}
	if strings.HasPrefix(name, reservedPrefix) {
		return errReserved()
	}
	known := *b.exchanges.Load()
	if len(known) >= maxExchanges {
		return broker.Errorf(broker.CodeOverCapacity, "the broker in memory has as many exchanges as it may have")
	}
	x := newExchange(name, typ)
	b.rebind(x)
	next := maps.Clone(known)
	next[name] = x
	b.exchanges.Store(&next)
	return nil
}

// rebind binds what a deleted exchange of this name had, as far as the new type
// allows, and tells the queues. Nobody can publish to x yet, so that whatever
// it routes comes after the news. The caller holds mu.
func (b *Broker) rebind(x *exchange) {
	back := make(map[*queue][]string)
	for e := range b.missing[x.name] {
		if x.check(e.binding) == nil {
			x.bind(e)
			back[e.queue] = append(back[e.queue], e.binding.ID())
			b.forget(e)
		}
	}
	for q, ids := range back {
		slices.Sort(ids)
		q.tell(&broker.BindingsBack{IDs: ids})
	}
}

// Delete deletes an exchange. Errors are *broker.Error: CodeExchangeNotFound,
// CodeForbidden for names that begin with "amq." (ErrReserved), and
// CodeBrokerUnavailable after Close.
func (b *Broker) Delete(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.lookup(name)
	switch {
	case b.closed.Load():
		return errClosed()
	case strings.HasPrefix(name, reservedPrefix):
		return errReserved()
	case x == nil:
		return errNoExchange()
	}
	next := maps.Clone(*b.exchanges.Load())
	delete(next, name)
	b.exchanges.Store(&next)

	lost := make(map[*queue][]string)
	for _, e := range x.drop() {
		lost[e.queue] = append(lost[e.queue], e.binding.ID())
		if b.missing[name] == nil {
			b.missing[name] = make(map[*bound]struct{})
		}
		b.missing[name][e] = struct{}{}
	}
	for q, ids := range lost {
		slices.Sort(ids)
		q.tell(&broker.BindingsLost{IDs: ids})
	}
	return nil
}

// Publish routes a message and reports whether any queue got it. It does not
// block on readers. The caller changes neither body nor properties.Headers
// afterwards; header values are of the closed set of broker.Table. Errors are
// *broker.Error: CodeExchangeNotFound, CodeInvalidRequest with Field
// "routing_key" for a key of more than 255 bytes, and CodeBrokerUnavailable
// after Close.
func (b *Broker) Publish(exchange, routingKey string, properties broker.Properties, body []byte) (routed bool, err error) {
	x := b.lookup(exchange)
	switch {
	case b.closed.Load():
		return false, errClosed()
	case x == nil:
		return false, errNoExchange()
	case len(routingKey) > broker.MaxShortString:
		return false, broker.Errorf(broker.CodeInvalidRequest, "routing_key is longer than 255 bytes").WithField("routing_key")
	}
	m := broker.Message{Exchange: exchange, RoutingKey: routingKey, Properties: properties, Body: body}
	n, ok := x.route(&m)
	if !ok {
		return false, errNoExchange()
	}
	return n > 0, nil
}

// Open implements broker.Source. A headers binding whose x-match is none is
// refused with CodeInvalidRequest, as RabbitMQ refuses it.
func (b *Broker) Open(ctx context.Context, spec broker.QueueSpec) (broker.Queue, error) {
	if err := ctx.Err(); err != nil {
		return nil, errTimeout(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return nil, errClosed()
	}
	q := newQueue(b)
	if err := b.bind(q, spec.Bindings); err != nil {
		return nil, err
	}
	b.queues[q] = struct{}{}
	return q, nil
}

// bind makes all of the bindings or none. The caller holds mu.
func (b *Broker) bind(q *queue, bindings []broker.Binding) error {
	for i, binding := range bindings {
		x := b.lookup(binding.Exchange())
		if x == nil {
			return errNoExchange().WithBinding(i)
		}
		if err := x.check(binding); err != nil {
			return err.WithBinding(i)
		}
	}
	for _, binding := range bindings {
		if q.bounds[binding.ID()] == nil {
			e := &bound{binding: binding, queue: q}
			q.bounds[binding.ID()] = e
			b.lookup(binding.Exchange()).bind(e)
		}
	}
	return nil
}

// unbind takes one binding of a queue away, whether its exchange is there or
// not. The caller holds mu.
func (b *Broker) unbind(e *bound) {
	delete(e.queue.bounds, e.binding.ID())
	if e.exchange != nil {
		e.exchange.unbind(e)
		return
	}
	b.forget(e)
}

// forget strikes a binding off the missing ones. The caller holds mu.
func (b *Broker) forget(e *bound) {
	name := e.binding.Exchange()
	delete(b.missing[name], e)
	if len(b.missing[name]) == 0 {
		delete(b.missing, name)
	}
}

// Exchanges implements broker.Source; it lists all there are.
func (b *Broker) Exchanges(ctx context.Context) ([]broker.Exchange, error) {
	if err := ctx.Err(); err != nil {
		return nil, errTimeout(err)
	}
	known := *b.exchanges.Load()
	out := make([]broker.Exchange, 0, len(known))
	for name, x := range known {
		out = append(out, broker.Exchange{Name: name, Type: x.typ})
	}
	slices.SortFunc(out, func(a, b broker.Exchange) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// ExchangeType implements broker.Source.
func (b *Broker) ExchangeType(name string) (typ string, known bool) {
	if x := b.lookup(name); x != nil {
		return x.typ, true
	}
	return "", false
}

// Health implements broker.Source: the broker is ready until it is closed.
func (b *Broker) Health() broker.Health {
	if b.closed.Load() {
		return broker.Health{Reasons: []string{"the in-process broker is closed"}}
	}
	return broker.Health{Ready: true}
}

// Close implements broker.Source. It does not wait for readers, so ctx does not matter.
func (b *Broker) Close(context.Context) error {
	b.mu.Lock()
	b.closed.Store(true)
	queues := slices.Collect(maps.Keys(b.queues))
	b.mu.Unlock()
	for _, q := range queues {
		q.shut()
	}
	return nil
}

func (b *Broker) lookup(name string) *exchange { return (*b.exchanges.Load())[name] }

func checkExchangeName(name string) error {
	switch {
	case name == "":
		return broker.Errorf(broker.CodeInvalidRequest, "the default exchange \"\" cannot be declared; name an exchange").WithField("name")
	case len(name) > broker.MaxShortString:
		return broker.Errorf(broker.CodeInvalidRequest, "name is longer than 255 bytes").WithField("name")
	case !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\r\n"):
		return broker.Errorf(broker.CodeInvalidRequest, "name is not valid UTF-8, or holds a line break or a NUL character").WithField("name")
	}
	return nil
}

func errReserved() *broker.Error {
	return broker.Errorf(broker.CodeForbidden, "names of exchanges that begin with amq. are reserved").WithField("name").WithCause(ErrReserved)
}

func errNoExchange() *broker.Error {
	return broker.Errorf(broker.CodeExchangeNotFound, "there is no such exchange: check its name, or make it (PUT /v1/exchanges/NAME)")
}

func errClosed() *broker.Error {
	return broker.Errorf(broker.CodeBrokerUnavailable, "the broker cannot be used now")
}

func errTimeout(cause error) *broker.Error {
	return broker.Errorf(broker.CodeBrokerTimeout, "the broker did not answer in time").WithCause(cause)
}
