package brokertest

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// Harness is a source under test and the means to work on the broker behind it.
type Harness interface {
	// Source returns the source under test, always the same. The suite closes it.
	Source() broker.Source
	// Declare makes an exchange.
	Declare(ctx context.Context, name, typ string) error
	// Delete deletes an exchange, with the bindings it has.
	Delete(ctx context.Context, name string) error
	// Publish returns when the broker has put the message into every queue it
	// goes to, and says whether there was one. What one goroutine publishes, to
	// whichever exchanges, reaches a queue in that order.
	Publish(ctx context.Context, exchange, routingKey string, properties broker.Properties, body []byte) (routed bool, err error)
}

// Options adapts the suite to a source. The zero value suits one that is as
// fast as the process itself and has no bounds to speak of.
type Options struct {
	// Patience is how long anything that has to happen may take: a call, an
	// event, the discovery of a deleted exchange. Nothing waits for the whole of
	// it unless it fails. Default 10 s.
	Patience time.Duration
	// MaxLength and Prefetch are the bounds that the source under test was made
	// with, at least 100 and 10. The suite overflows a queue by publishing some
	// more than both, when both are given.
	MaxLength, Prefetch int
	// Scripted says that the broker behind the source is a script, which
	// delivers a message only to a binding of exactly its key, knows no exchange
	// that it has to refuse, and has no prefetch. The cases that need more are
	// left out.
	Scripted bool
}

// TestSource holds a source to the contract of broker.Source and broker.Queue.
// It calls factory once in each case, whose test the harness may use for its
// own cleanup: that runs after the suite has closed the source.
func TestSource(t *testing.T, factory func(t *testing.T) Harness, opts Options) {
	t.Helper()
	if opts.Patience <= 0 {
		opts.Patience = 10 * time.Second
	}
	for _, c := range allCases() {
		if opts.Scripted && !c.scripted || c.overflows && (opts.MaxLength <= 0 || opts.Prefetch <= 0) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, opts: opts, harness: factory(t)}
			s.src = s.harness.Source()
			t.Cleanup(func() { s.noError(s.src.Close(s.cleanupContext()), "close the source") })
			c.run(s)
		})
	}
}

// testCase is one sentence of the contract.
type testCase struct {
	name      string
	run       func(s *suite)
	scripted  bool // makes sense with a scripted broker, too
	overflows bool // needs bounds that can be reached
}

func allCases() []testCase {
	var all []testCase
	for _, part := range [][]testCase{openCases(), bindCases(), routingCases(), messageCases(), sinkCases(), ackCases(), lossCases(), closeCases()} {
		all = append(all, part...)
	}
	return all
}

// suite is what a case works with.
type suite struct {
	*testing.T
	opts    Options
	harness Harness
	src     broker.Source
}

// ctx returns a context that ends when patience does.
func (s *suite) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), s.opts.Patience)
	s.Cleanup(cancel)
	return ctx
}

// cleanupContext is ctx for cleanups, at which the test's own has ended.
func (s *suite) cleanupContext() context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), s.opts.Patience)
	s.Cleanup(cancel)
	return ctx
}

func (s *suite) noError(err error, doing string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", doing, err)
	}
}

// wantCode checks an error's code and the index of the binding it is about,
// -1 for none.
func (s *suite) wantCode(err error, index int, codes ...broker.Code) {
	s.Helper()
	var e *broker.Error
	if !errors.As(err, &e) {
		s.Fatalf("got error %v, want one of %v", err, codes)
	}
	if !slices.Contains(codes, e.Code) {
		s.Errorf("got error %v, want one of %v", err, codes)
	}
	if e.Binding != index {
		s.Errorf("the error is about binding %d, want %d: %v", e.Binding, index, err)
	}
}

// exchange declares an exchange under a name that was never used before.
func (s *suite) exchange(typ string) string {
	s.Helper()
	name := "suite-" + rand.Text()
	s.declare(name, typ)
	s.Cleanup(func() { _ = s.harness.Delete(s.cleanupContext(), name) }) // the case may have deleted it
	return name
}

func (s *suite) declare(name, typ string) {
	s.Helper()
	s.noError(s.harness.Declare(s.ctx(), name, typ), "declare an exchange")
}

func (s *suite) delete(name string) {
	s.Helper()
	s.noError(s.harness.Delete(s.ctx(), name), "delete an exchange")
}

// nowhere returns the name of an exchange that is not there.
func (s *suite) nowhere() string { return "suite-" + rand.Text() }

func (s *suite) binding(exchange, key string) broker.Binding {
	s.Helper()
	return s.bindingWith(exchange, key, nil)
}

func (s *suite) bindingWith(exchange, key string, args broker.Table) broker.Binding {
	s.Helper()
	b, err := broker.NewBinding(exchange, key, args)
	s.noError(err, "make a binding")
	return b
}

// open opens a queue and reads it.
func (s *suite) open(bindings ...broker.Binding) *reader {
	s.Helper()
	q, err := s.src.Open(s.ctx(), newSpec(bindings...))
	s.noError(err, "open a queue")
	return s.read(q, ackTake)
}

func newSpec(bindings ...broker.Binding) broker.QueueSpec {
	return broker.QueueSpec{Stream: rand.Text()[:17], Bindings: bindings}
}

// publish publishes a message that is known by its id.
func (s *suite) publish(exchange, key, id string) (routed bool) {
	s.Helper()
	return s.publishWith(exchange, key, broker.Properties{MessageID: id}, []byte(id))
}

func (s *suite) publishWith(exchange, key string, p broker.Properties, body []byte) (routed bool) {
	s.Helper()
	routed, err := s.harness.Publish(s.ctx(), exchange, key, p, body)
	s.noError(err, "publish")
	return routed
}

// unrouted returns when what is published no longer reaches any queue.
func (s *suite) unrouted(exchange, key string) {
	s.Helper()
	ctx := s.ctx()
	for s.publish(exchange, key, "probe") {
		select {
		case <-ctx.Done():
			s.Fatalf("a queue is still bound to %q", key)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
