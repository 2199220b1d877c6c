package brokertest

import (
	"context"
	"strconv"
	"sync"

	"github.com/warren-gateway/warren/broker"
)

func closeCases() []testCase {
	return []testCase{
		{name: "Close/DeletesTheQueueAndEndsItsEvents", run: closeDeletes, scripted: true},
		{name: "Close/IsIdempotent", run: closeTwice, scripted: true},
		{name: "Close/ContextThatHasEnded", run: closeCanceled, scripted: true},
		{name: "Close/BeforeStart", run: closeUnstarted, scripted: true},
		{name: "Close/WhileMessagesComeIsTheEndOfThem", run: closeUnderLoad, scripted: true},
		{name: "Close/LeavesOtherQueuesAlone", run: closeOne, scripted: true},
		{name: "Close/OfTheSourceEndsEveryQueue", run: closeSource, scripted: true},
		{name: "Close/OfTheSourceIsIdempotent", run: closeSourceTwice, scripted: true},
	}
}

func closeDeletes(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	s.publish(e, "k", "1")
	r.expect("1")
	s.noError(r.Close(s.ctx()), "close")
	if s.publish(e, "k", "2") {
		s.Error("a message was routed to a queue that is closed")
	}
}

func closeTwice(s *suite) {
	r := s.open(s.binding(s.exchange("direct"), "k"))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := r.Close(s.ctx()); err != nil {
				s.Errorf("close: %v", err)
			}
		})
	}
	group.Wait()
	s.noError(r.Close(s.ctx()), "close again")
}

// closeCanceled closes with a context that has ended: the error is the
// source's business, what is to be done is done all the same.
func closeCanceled(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_ = r.Close(ctx)
	s.unrouted(e, "k")
}

func closeUnstarted(s *suite) {
	e := s.exchange("direct")
	q, err := s.src.Open(s.ctx(), newSpec(s.binding(e, "k")))
	s.noError(err, "open")
	for i := range 300 {
		s.publish(e, "k", strconv.Itoa(i))
	}
	s.noError(q.Close(s.ctx()), "close")
	r := &reader{Queue: q, s: s, changed: make(chan struct{}), ended: true}
	q.Start(r) // Nothing may come of that.
}

func closeUnderLoad(s *suite) {
	e := s.exchange("direct")
	stop := make(chan struct{})
	s.background(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.harness.Publish(s.ctx(), e, "k", broker.Properties{}, nil); err != nil {
				s.Errorf("publish: %v", err)
				return
			}
		}
	})
	defer close(stop)
	for range 10 {
		r := s.open(s.binding(e, "k"))
		for range 10 {
			r.next() // An overflow may be among them.
		}
		s.noError(r.Close(s.ctx()), "close")
		witness := s.open(s.binding(e, "k"))
		for range 10 {
			witness.next() // These do not come to r, which would say so.
		}
		s.noError(witness.Close(s.ctx()), "close the witness")
	}
}

func closeOne(s *suite) {
	e := s.exchange("direct")
	r := s.open(s.binding(e, "k"))
	for i := range 10 {
		other := s.open(s.binding(e, "k"))
		s.publish(e, "k", strconv.Itoa(2*i))
		s.noError(other.Close(s.ctx()), "close")
		s.publish(e, "k", strconv.Itoa(2*i+1))
		r.expect(strconv.Itoa(2*i), strconv.Itoa(2*i+1))
	}
}

func closeSource(s *suite) {
	e := s.exchange("direct")
	a, b := s.open(s.binding(e, "k")), s.open()
	s.publish(e, "k", "1")
	a.expect("1")
	s.noError(s.src.Close(s.ctx()), "close the source")
	a.end()
	b.end()
	err := a.Bind(s.ctx(), []broker.Binding{s.binding(e, "l")})
	s.wantCode(err, -1, broker.CodeBrokerUnavailable)
	s.noError(a.Close(s.ctx()), "close a queue after its source")
}

func closeSourceTwice(s *suite) {
	s.open()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := s.src.Close(s.ctx()); err != nil {
				s.Errorf("close: %v", err)
			}
		})
	}
	group.Wait()
	s.noError(s.src.Close(s.ctx()), "close again")
}
