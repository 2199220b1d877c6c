package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// pumpBatch is how many deliveries are encoded before they are appended
// together: one lock, one wake-up and one ack for all of them.
const pumpBatch = 128

// pump is the sink of a subscription's queue and the only one to append to its
// log. It has no goroutine: events come on the source's, requests for a marker
// on those of who changes the bindings.
type pump struct {
	sub *Subscription

	mu      sync.Mutex // guards all below; taken before the subscription's
	frames  frameWriter
	pending []Frame // encoded, not yet appended
	next    uint64  // offset of the next event; nobody else appends
	tag     uint64  // of the newest pending delivery
	tagged  bool
	nGaps   uint64
	nMsgs   uint64
	nBytes  uint64
	began   time.Time // when the oldest pending delivery was taken; zero for none
	traces  []traced  // of pending messages
	over    bool      // the log is gone
}

var _ Sink = (*pump)(nil)

// Take implements Sink.
func (p *pump) Take(ev Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.handle(ev)
	if len(p.pending) >= pumpBatch {
		p.flush()
	}
}

// Flush implements Sink.
func (p *pump) Flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.flush()
	}
}

// mark appends a marker with the bindings as they are now.
func (p *pump) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.marker()
	p.flush()
}

// end says that the log is gone. The queue is closed, but a change of the
// bindings may still want its marker.
func (p *pump) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.pending, p.traces, p.frames = nil, nil, frameWriter{} // An attachment that is still open must not pin them.
}

func (p *pump) handle(ev Event) {
	switch ev := ev.(type) {
	case *Delivery:
		p.delivery(ev)
	case *Overflow:
		p.flush() // the range ends here
		p.sub.broker.counts.drop(ev.Missed)
		p.gap(gap{reason: GapQueueOverflow, missed: ev.Missed, since: p.positionAt(ev.Since)})
	case *Recovering:
		p.flush()
		p.sub.setRecovering(true)
	case *Recovered:
		p.flush()
		p.gap(gap{reason: ev.Reason, missed: unknownCount})
		if p.sub.setMissing(ev.Missing) {
			p.marker()
		}
		p.flush()
		p.sub.setRecovering(false)
	case *BindingsLost:
		if p.sub.markMissing(ev.IDs, true) {
			p.gap(gap{reason: GapBindingLost, missed: unknownCount})
			p.marker()
		}
	case *BindingsBack:
		if p.sub.markMissing(ev.IDs, false) {
			p.marker()
		}
	}
}

func (p *pump) delivery(d *Delivery) {
	p.tag, p.tagged = d.Tag, true
	p.nMsgs++
	size := max(d.Size, len(d.Body))
	p.nBytes += uint64(size)
	if p.began.IsZero() {
		p.began = time.Now()
	}
	if size > p.sub.broker.limits.MaxMessageBytes {
		p.gap(gap{
			reason: GapOversized, missed: 1,
			exchange: d.Exchange, routingKey: d.RoutingKey, size: size,
		})
		return
	}
	if trace := p.sub.broker.trace(p.sub.stream, &d.Message); trace != nil {
		p.traces = append(p.traces, traced{offset: p.next, trace: trace})
	}
	f := p.frames.message(p.id(), &d.Message, p.sub.payload)
	f.age = p.sub.broker.ageOf(&d.Properties, p.began)
	p.add(f)
}

func (p *pump) gap(g gap) {
	p.nGaps++
	p.sub.broker.counts.gap(g.reason)
	id := p.id()
	p.note(g.missed)
	p.add(p.frames.gap(id, id.Offset, g))
}

func (p *pump) marker() {
	p.sub.mu.Lock()
	list := p.sub.bindingsJSON()
	p.sub.mu.Unlock()
	id := p.id()
	p.note(0)
	p.add(p.frames.bindings(id, id.Offset, list))
}

// note tells the tally what the event that is added next stands for.
func (p *pump) note(missed int64) {
	p.sub.mu.Lock()
	p.sub.log.tally.note(p.next, missed)
	p.sub.mu.Unlock()
}

func (p *pump) id() Position { return Position{Stream: p.sub.stream, Offset: p.next} }

func (p *pump) add(f Frame) {
	p.pending = append(p.pending, f)
	p.next++
}

func (p *pump) positionAt(at time.Time) Position {
	p.sub.mu.Lock()
	defer p.sub.mu.Unlock()
	return Position{Stream: p.sub.stream, Offset: p.sub.timeline.before(at, p.sub.log.newest)}
}

// flush appends what is pending, wakes the readers and acknowledges.
func (p *pump) flush() {
	if len(p.pending) == 0 {
		return
	}
	p.sub.append(p)
	counts := &p.sub.broker.counts
	counts.received.Add(p.nMsgs)
	counts.receivedBytes.Add(p.nBytes)
	p.frames.release()
	clear(p.pending)
	clear(p.traces)
	p.traces = p.traces[:0]
	p.pending, p.nMsgs, p.nBytes, p.nGaps, p.began = p.pending[:0], 0, 0, 0, time.Time{}
	if p.tagged {
		p.sub.queue.Ack(p.tag)
		p.tagged = false
	}
}

// append puts what is pending into the log and wakes the attachments that wait.
func (s *Subscription) append(p *pump) {
	received := sinceEpoch(p.began)
	now := time.Now()
	s.mu.Lock()
	s.timeline.note(now, s.log.newest)
	before, evicted := s.log.bytes, 0
	for _, f := range p.pending {
		if f.kind == KindMessage {
			f.received = received
		}
		evicted += s.log.append(f)
	}
	s.received += p.nMsgs
	s.gaps += p.nGaps
	s.account(before, evicted)
	if s.broker.tracer != nil {
		s.follow(p.traces)
	}
	if level := s.broker.budget.levelFor(s.log.bytes); level > 0 {
		s.shrinkTo(level)
	}
	waiters := s.takeWaiters()
	s.mu.Unlock()
	if len(waiters) == 0 {
		return
	}
	// Outside the lock, or each reader would wake only to wait for it.
	for _, a := range waiters {
		a.signal()
	}
	clear(waiters)
	s.mu.Lock()
	s.spare = waiters[:0]
	s.mu.Unlock()
}

// takeWaiters empties the list of waiting attachments and returns it, for the
// caller to signal and to give back as spare. s.mu is held.
func (s *Subscription) takeWaiters() []*Attachment {
	waiters := s.waiters
	if len(waiters) > 0 {
		s.waiters, s.spare = s.spare, nil
		for _, a := range waiters {
			a.waitsAt = 0
		}
	}
	return waiters
}

// account passes a change of the log's size to the budget. s.mu is held.
func (s *Subscription) account(before, evicted int) {
	delta := int64(s.log.bytes - before)
	s.logBytes.Add(delta)
	s.broker.budget.add(delta)
	s.evicted += uint64(evicted)
	s.broker.counts.evicted.Add(uint64(evicted))
}

// shrinkTo evicts until the log holds at most level bytes. s.mu is held.
func (s *Subscription) shrinkTo(level int64) {
	before := s.log.bytes
	s.account(before, s.log.shrink(int(level)))
}

// squeeze is shrinkTo for the reclaimer.
func (s *Subscription) squeeze(level int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shrinkTo(level)
}

func (s *Subscription) setRecovering(recovering bool) {
	s.mu.Lock()
	s.recovering = recovering
	s.mu.Unlock()
}

// setMissing makes exactly these bindings missing and reports whether that
// changed the state of any.
func (s *Subscription) setMissing(ids []string) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		missing[id] = struct{}{}
	}
	for _, b := range s.bindings {
		_, was := s.missing[b.id]
		_, is := missing[b.id]
		changed = changed || was != is
	}
	s.missing = missing
	s.listJSON = nil
	return changed
}

// markMissing changes the state of these bindings and reports whether any
// binding of the subscription changed.
func (s *Subscription) markMissing(ids []string, gone bool) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := idsOf(s.bindings)
	for _, id := range ids {
		_, was := s.missing[id]
		if was == gone {
			continue
		}
		if gone {
			s.missing[id] = struct{}{}
		} else {
			delete(s.missing, id)
		}
		if _, in := have[id]; in {
			changed = true
		}
	}
	s.listJSON = nil
	return changed
}

// dismantle deletes the queue and tells the broker and the maker that
// nothing is left.
func (s *Subscription) dismantle() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.queue.Close(ctx); err != nil {
		s.broker.logger.Warn("queue not deleted in time", slog.String("stream", s.stream), slog.Any("error", err))
	}
	s.pump.end()
	s.mu.Lock()
	s.broker.budget.add(-s.logBytes.Swap(0))
	s.log = newRing(1, 0) // attachments that are still open must not pin the log
	unwritten := len(s.traces)
	s.traces = nil
	s.followsSince(unwritten)
	s.mu.Unlock()
	s.broker.settled()
	if s.onEnd != nil {
		s.onEnd()
	}
	close(s.done)
}
