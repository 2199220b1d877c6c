package rabbitmq

import (
	"context"
	"crypto/rand"
	"log/slog"
	"math"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// bindOverhead is what a frame that binds has at most besides the arguments: four short strings, and some bytes.
const bindOverhead = 1100

// checkArguments refuses what costs the connection: amqp091-go gives up on long names, RabbitMQ's parser on numbers that are none,
// and the broker on a frame above its frame_max.
func (s *Source) checkArguments(t broker.Table) *broker.Error {
	size, problem := argumentSize(t)
	if problem == "" && size > int(s.frameMax.Load())-bindOverhead {
		problem = "the arguments are too large"
	}
	if problem != "" {
		return broker.Errorf(broker.CodeInvalidRequest, problem).WithField("arguments")
	}
	return nil
}

// argumentSize returns at least the size of a value on the wire, and what is wrong with it.
func argumentSize(v any) (size int, problem string) {
	switch v := v.(type) {
	case string:
		return len(v) + 5, ""
	case []byte:
		return len(v) + 5, ""
	case float32:
		return argumentSize(float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			problem = "an argument is not a finite number"
		}
		return 9, problem
	case broker.Table:
		size = 5
		for name, e := range v {
			n, problem := argumentSize(e)
			if len(name) > broker.MaxShortString {
				problem = "the name of an argument is longer than 255 bytes"
			}
			if problem != "" {
				return 0, problem
			}
			size += 1 + len(name) + n
		}
		return size, ""
	case []any:
		size = 5
		for _, e := range v {
			n, problem := argumentSize(e)
			if problem != "" {
				return 0, problem
			}
			size += n
		}
		return size, ""
	default:
		return 9, ""
	}
}

// Bind implements broker.Queue. Beyond the errors documented there it answers CodeInvalidRequest as Open does.
func (q *queue) Bind(ctx context.Context, bindings []broker.Binding) error {
	for i, b := range bindings {
		if err := q.src.checkArguments(b.Arguments()); err != nil {
			return err.WithBinding(i)
		}
	}
	var added []broker.Binding
	do := func(inc *incarnation) (err error) {
		added, err = q.bind(inc, bindings)
		return err
	}
	undo := func(inc *incarnation) { q.undoBind(inc, added) }
	ctx, cancel := context.WithTimeout(ctx, q.src.opts.OperationTimeout)
	defer cancel()
	if err := q.begin(ctx); err != nil {
		return err
	}
	return q.changing(ctx, do, undo)
}

// Unbind implements broker.Queue.
func (q *queue) Unbind(ctx context.Context, bindings []broker.Binding) error {
	var removed []*bound
	do := func(inc *incarnation) (err error) {
		removed, err = q.unbind(inc, bindings)
		return err
	}
	undo := func(inc *incarnation) { q.undoUnbind(inc, removed) }
	begin, cancel := context.WithTimeout(ctx, q.src.opts.OperationTimeout)
	defer cancel()
	if err := q.begin(begin); err != nil {
		return err
	}
	// Once begun, it is not given up with the request: until it was undone, messages would be missing.
	ctx, cancelChange := context.WithTimeout(context.WithoutCancel(ctx), q.src.opts.OperationTimeout)
	defer cancelChange()
	return q.changing(ctx, do, undo)
}

// begin waits until nobody else changes the queue.
func (q *queue) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	if _, err := q.current(); err != nil {
		return err // not after the rebuild, which holds change
	}
	select {
	case q.change <- struct{}{}:
		return nil
	case <-ctx.Done():
		return interrupted(ctx)
	case <-q.closing:
		return unavailable(errQueueClosed)
	}
}

// changing runs a change after begin. When the context ends first, the change is undone behind it.
func (q *queue) changing(ctx context.Context, do func(*incarnation) error, undo func(*incarnation)) error {
	done := make(chan error)
	started := q.src.spawn(func() {
		defer func() { <-q.change }()
		inc, err := q.current()
		if err == nil {
			err = do(inc)
		}
		select {
		case done <- err:
		case <-ctx.Done():
			if err == nil {
				undo(inc)
			}
		}
	})
	if !started {
		<-q.change
		return unavailable(errSourceClosed)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return interrupted(ctx)
	}
}

// current returns the incarnation, or why there is none.
func (q *queue) current() (*incarnation, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, unavailable(errQueueClosed)
	case q.inc.Load() == nil:
		return nil, unavailable(errConnClosed)
	}
	return q.inc.Load(), nil
}

// bind makes those bindings that are not there yet, all or none.
func (q *queue) bind(inc *incarnation, bindings []broker.Binding) (added []broker.Binding, err error) {
	q.mu.Lock()
	have := q.bindings()
	q.mu.Unlock()
	deleted := q.src.exchanges.attend(bindings)
	refused := func(err error, b broker.Binding) error {
		if queueGone(err) {
			return unavailable(err)
		}
		return bindError(err, indexOf(bindings, b))
	}
	lacking := slices.DeleteFunc(slices.Clone(bindings), func(b broker.Binding) bool { return containsBinding(have, b) })
	err = inc.conn.disposable(func(ch *amqp.Channel) error {
		if exchangesOf(lacking) > 1 {
			if i, err := seeExchanges(ch, inc.name, lacking); err != nil {
				return refused(err, lacking[i])
			}
		}
		for _, b := range lacking {
			if containsBinding(added, b) {
				continue
			}
			if err := bind(ch, inc.name, b); err != nil {
				return refused(err, b)
			}
			added = append(added, b)
		}
		return nil
	})
	if err != nil {
		deleted()
		q.unbindQuietly(inc, added)
		return nil, asBindError(err)
	}
	q.mu.Lock()
	q.add(added)
	q.mu.Unlock()
	q.src.exchanges.use(q, added)
	for _, name := range deleted() {
		q.exchangeGone(name)
		q.src.exchanges.probeSoon(name) // it may be back
	}
	return added, nil
}

// exchangesOf counts the exchanges of bindings.
func exchangesOf(bindings []broker.Binding) int {
	names := make(map[string]struct{}, 1)
	for _, b := range bindings {
		names[b.Exchange()] = struct{}{}
	}
	return len(names)
}

// seeExchanges has the broker say which of the exchanges it refuses, before any is bound: one that is auto-delete goes with its
// last binding, so that to take back what was bound could take it along, although the request was refused. Unbinding what is
// not bound changes nothing, and needs the permissions that binding does, on topics for the routing key, too; so nobody learns
// whether an exchange is there that the account may not read. index is of the binding that is refused.
func seeExchanges(ch *amqp.Channel, queue string, bindings []broker.Binding) (index int, err error) {
	seen := make(map[string]bool)
	nothing := amqp.Table{rand.Text(): nil} // a binding with it nobody has
	for i, b := range bindings {
		if seen[b.Exchange()] {
			continue
		}
		seen[b.Exchange()] = true
		if err := ch.QueueUnbind(queue, b.RoutingKey(), b.Exchange(), nothing); err != nil {
			return i, err
		}
		if err := ch.ExchangeDeclarePassive(b.Exchange(), amqp.ExchangeTopic, false, false, false, false, nil); err != nil { // it compares nothing
			return i, err
		}
	}
	return 0, nil
}

func (q *queue) undoBind(inc *incarnation, added []broker.Binding) {
	q.unbindQuietly(inc, added)
	q.mu.Lock()
	var told []string // that they are missing, which for the core they would still be when they are bound again
	for _, b := range q.bounds {
		if b.missing && containsBinding(added, b.binding) {
			told = append(told, b.binding.ID())
		}
	}
	q.take(added)
	if told != nil {
		q.post(&broker.BindingsBack{IDs: told})
	}
	q.mu.Unlock()
	q.src.exchanges.unuse(q, added)
}

// unbindQuietly takes back bindings that a failed request made.
func (q *queue) unbindQuietly(inc *incarnation, bindings []broker.Binding) {
	for _, b := range bindings {
		err := inc.conn.disposable(func(ch *amqp.Channel) error { return unbind(ch, inc.name, b) })
		if err != nil && !inc.conn.IsClosed() && replyCode(err) != amqp.NotFound {
			q.src.often.Warn("cannot take a binding back", slog.String("stream", q.stream), slog.Any("error", err))
		}
	}
}

// unbind removes those bindings that are there, all or none.
func (q *queue) unbind(inc *incarnation, bindings []broker.Binding) (removed []*bound, err error) {
	q.mu.Lock()
	var having []*bound
	for _, b := range q.bounds {
		if containsBinding(bindings, b.binding) {
			having = append(having, b)
		}
	}
	q.mu.Unlock()
	for i, b := range having {
		// One that is missing, too: it may be back, or have been there all along.
		err := inc.conn.disposable(func(ch *amqp.Channel) error { return unbind(ch, inc.name, b.binding) })
		if err == nil || q.nothingBound(b, err) {
			continue
		}
		q.bindAgain(inc, having[:i])
		if queueGone(err) {
			return nil, unavailable(err)
		}
		return nil, bindError(err, indexOf(bindings, b.binding))
	}
	gone := make([]broker.Binding, len(having))
	for i, b := range having {
		gone[i] = b.binding
	}
	q.mu.Lock()
	q.take(gone)
	q.mu.Unlock()
	q.src.exchanges.unuse(q, gone)
	return having, nil
}

// nothingBound reports whether what unbind answered means that there is no such binding.
func (q *queue) nothingBound(b *bound, err error) bool {
	if queueGone(err) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	// What is missing because the broker refused it, as one does that the account may not read, it refuses again.
	return replyCode(err) == amqp.NotFound || b.missing && channelRefused(err)
}

func (q *queue) undoUnbind(inc *incarnation, removed []*bound) {
	again := make([]broker.Binding, len(removed))
	for i, b := range removed {
		again[i] = b.binding
	}
	q.mu.Lock()
	q.bounds = append(q.bounds, removed...)
	q.mu.Unlock()
	q.src.exchanges.use(q, again)
	q.bindAgain(inc, removed)
}

// bindAgain puts bindings back that a failed request removed. What was published meanwhile is missing, hence the events. What
// cannot be bound stays lost, and the probe tries it again.
func (q *queue) bindAgain(inc *incarnation, removed []*bound) {
	q.mu.Lock()
	removed = slices.DeleteFunc(slices.Clone(removed), func(b *bound) bool { return b.missing })
	lost, back := make([]string, 0, len(removed)), make([]string, 0, len(removed))
	for _, b := range removed {
		b.missing, b.lost = true, false
		lost = append(lost, b.binding.ID())
	}
	if len(lost) > 0 {
		q.post(&broker.BindingsLost{IDs: lost})
	}
	q.mu.Unlock()
	for _, b := range removed {
		if err := inc.conn.disposable(func(ch *amqp.Channel) error { return bind(ch, inc.name, b.binding) }); err == nil {
			back = append(back, b.binding.ID())
		}
	}
	q.foundAgain(inc, back)
}

// asBindError passes on what is mapped already; the rest is the disposable channel's own trouble.
func asBindError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*broker.Error); ok { //nolint:errorlint // made right above, never wrapped
		return err
	}
	return queueError(err)
}

// add appends bindings that the queue does not have. The caller holds mu, or has the queue for itself.
func (q *queue) add(bindings []broker.Binding) {
	for _, b := range bindings {
		if !containsBinding(q.bindings(), b) {
			q.bounds = append(q.bounds, &bound{binding: b})
		}
	}
}

// take removes bindings. The caller holds mu.
func (q *queue) take(bindings []broker.Binding) {
	q.bounds = slices.DeleteFunc(q.bounds, func(b *bound) bool { return containsBinding(bindings, b.binding) })
}

func indexOf(bindings []broker.Binding, b broker.Binding) int {
	return slices.IndexFunc(bindings, func(have broker.Binding) bool { return have.ID() == b.ID() })
}

func containsBinding(bindings []broker.Binding, b broker.Binding) bool {
	return indexOf(bindings, b) >= 0
}
