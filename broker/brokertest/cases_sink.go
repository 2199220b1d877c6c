package brokertest

import (
	"strconv"

	"github.com/warren-gateway/warren/broker"
)

func sinkCases() []testCase {
	return []testCase{
		{name: "Start/WhatCameBeforeItComesFirst", run: startLate, scripted: true},
		{name: "Flush/FollowsTheLastTakeBeforeQuiet", run: flushBeforeQuiet, scripted: true},
		{name: "Ack/FromWithinTake", run: func(s *suite) { ackWithin(s, ackTake) }, scripted: true},
		{name: "Ack/FromWithinFlush", run: func(s *suite) { ackWithin(s, ackFlush) }, scripted: true},
	}
}

// openFor opens a queue that acknowledges in a mode.
func (s *suite) openFor(mode ackMode, bindings ...broker.Binding) *reader {
	s.Helper()
	q, err := s.src.Open(s.ctx(), newSpec(bindings...))
	s.noError(err, "open a queue")
	return s.read(q, mode)
}

func startLate(s *suite) {
	const before, after = 30, 30
	e := s.exchange("direct")
	q, err := s.src.Open(s.ctx(), newSpec(s.binding(e, "k")))
	s.noError(err, "open")
	for i := range before {
		s.publish(e, "k", strconv.Itoa(i))
	}
	published := make(chan struct{})
	s.background(func() {
		defer close(published)
		for i := range after {
			p := broker.Properties{MessageID: strconv.Itoa(before + i)}
			if _, err := s.harness.Publish(s.ctx(), e, "k", p, nil); err != nil {
				s.Errorf("publish: %v", err)
			}
		}
	})
	r := s.read(q, ackTake)
	for i := range before + after {
		r.expect(strconv.Itoa(i))
	}
	<-published
}

// flushBeforeQuiet has nothing follow the messages that the sink keeps back.
func flushBeforeQuiet(s *suite) {
	e := s.exchange("direct")
	r := s.openFor(ackFlush, s.binding(e, "k"))
	at := 0
	for _, burst := range []int{1, 2, 1, 50, 1} {
		for i := range burst {
			s.publish(e, "k", strconv.Itoa(at+i))
		}
		for range burst {
			r.expect(strconv.Itoa(at))
			at++
		}
	}
}

// ackWithin publishes several times what the prefetch allows, in bursts that
// no queue has to drop anything of.
func ackWithin(s *suite, mode ackMode) {
	const bursts, burst = 10, 50
	e := s.exchange("direct")
	r := s.openFor(mode, s.binding(e, "k"))
	for b := range bursts {
		for i := range burst {
			s.publish(e, "k", strconv.Itoa(b*burst+i))
		}
		for i := range burst {
			r.expect(strconv.Itoa(b*burst + i))
		}
	}
}
