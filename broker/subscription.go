package broker

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

// State is a subscription's state as REST shows it.
type State string

// The states; recovering outranks paused.
const (
	StateActive     State = "active"
	StatePaused     State = "paused"
	StateRecovering State = "recovering"
)

// Subscription is bindings, one exclusive queue at a time, and one log that any
// number of attachments read, each at its own position. It is made by
// Broker.Create or Broker.Share, and safe for concurrent use.
//
// The pump alone appends to the log. Requests that change the bindings are
// serialised by changing and have the pump append their markers.
type Subscription struct {
	broker     *Broker
	id         string
	stream     string
	owner      string
	streamMade bool
	payload    PayloadMode
	created    time.Time
	madeKey    string // the set of bindings it was made with
	sharedKey  string // its key in Broker.shared; "" on owned ones
	onEnd      func()
	queue      Queue

	pump     pump
	changing chan struct{} // capacity 1: held while a request changes bindings
	done     chan struct{} // closed when nothing of it is left
	logBytes atomic.Int64  // what the log holds, for the budget
	followed atomic.Bool   // there are traces
	handed   atomic.Uint64 // the newest event handed to any attachment's socket

	mu          sync.Mutex // guards all below, and the attachments
	log         *ring
	timeline    timeline
	bindings    []Binding
	former      []former            // in the order of their ends
	blurred     uint64              // until this has left the log, there may be others than those in former
	missing     map[string]struct{} // ids of bindings whose exchange is not there
	listJSON    []byte              // the bindings as JSON; nil when stale
	attachments map[*Attachment]struct{}
	attached    [2]int // by Transport
	waiters     []*Attachment
	spare       []*Attachment // the other buffer of waiters
	paused      bool
	recovering  bool
	linger      time.Duration
	idleSince   time.Time
	lingerTimer *time.Timer
	expires     time.Time
	expiryTimer *time.Timer
	ended       *End
	traces      []traced // of messages that no attachment has written yet, in their order
	received    uint64
	evicted     uint64
	gaps        uint64
}

// ID returns the subscription id, a capability; "" on shared ones.
func (s *Subscription) ID() string { return s.id }

// Stream returns the stream id, which opens nothing here; a position brings a
// stream back to what StreamMade reports.
func (s *Subscription) Stream() string { return s.stream }

// Owner returns the caller that Spec named.
func (s *Subscription) Owner() string { return s.owner }

// Shared reports whether it is the gateway's own, for everybody who asks for its bindings.
func (s *Subscription) Shared() bool { return s.sharedKey != "" }

// StreamMade reports whether a stream made it rather than a create request.
func (s *Subscription) StreamMade() bool { return s.streamMade }

// Created returns when it was made.
func (s *Subscription) Created() time.Time { return s.created }

// Payload returns how message bodies are written.
func (s *Subscription) Payload() PayloadMode { return s.payload }

// Done returns a channel that is closed when the subscription has ended and
// nothing is left of it: its queue is deleted, and nothing comes in any more.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Bindings returns the bindings as they are now.
func (s *Subscription) Bindings() []Binding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Binding(nil), s.bindings...)
}

// HasBindings reports whether the set is the one the subscription was made with
// or has now.
func (s *Subscription) HasBindings(set []Binding) bool {
	key := bindingsKey(set)
	return key == s.madeKey || key == bindingsKey(s.Bindings())
}

// BindingStatus is a binding and whether it is in force.
type BindingStatus struct {
	Binding

	State BindingState
}

// Snapshot is what REST shows of a subscription, at one moment.
type Snapshot struct {
	ID, Stream string
	State      State
	Bindings   []BindingStatus
	Payload    PayloadMode
	Created    time.Time
	// Expires is when it ends if nobody attaches, or when its owner's token
	// does; zero if it does not end by itself.
	Expires time.Time
	Linger  time.Duration
	// SSE and WS count the attachments.
	SSE, WS int
	// Oldest and Newest are the retained events; zero when there are none.
	Oldest, Newest Position
	// Received counts messages from the broker, Evicted the events that left
	// the log, Gaps the log's own gaps.
	Received, Evicted, Gaps uint64
	// LogBytes is what the log holds.
	LogBytes int64
}

// Snapshot returns the subscription as it is now.
func (s *Subscription) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := Snapshot{
		ID: s.id, Stream: s.stream, State: s.state(), Payload: s.payload, Created: s.created,
		Linger: s.linger, SSE: s.attached[SSE], WS: s.attached[WS], Expires: s.endsAt(),
		Received: s.received, Evicted: s.evicted, Gaps: s.gaps, LogBytes: s.logBytes.Load(),
	}
	for _, b := range s.bindings {
		snap.Bindings = append(snap.Bindings, BindingStatus{Binding: b, State: s.stateOf(b)})
	}
	if s.log.len() > 0 {
		snap.Oldest = Position{Stream: s.stream, Offset: s.log.first}
		snap.Newest = Position{Stream: s.stream, Offset: s.log.newest}
	}
	return snap
}

// state is the state of the whole. s.mu is held.
func (s *Subscription) state() State {
	switch {
	case s.recovering:
		return StateRecovering
	case s.paused:
		return StatePaused
	}
	return StateActive
}

func (s *Subscription) endsAt() time.Time {
	at := s.expires
	if len(s.attachments) == 0 {
		if idle := s.idleSince.Add(s.linger); at.IsZero() || idle.Before(at) {
			at = idle
		}
	}
	return at
}

func (s *Subscription) stateOf(b Binding) BindingState {
	if _, gone := s.missing[b.id]; gone {
		return BindingMissing
	}
	return BindingBound
}

// bindingsJSON returns the bindings as a JSON array. s.mu is held.
func (s *Subscription) bindingsJSON() []byte {
	if s.listJSON == nil {
		b := []byte{'['}
		for i, binding := range s.bindings {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendBinding(b, binding, s.stateOf(binding))
		}
		s.listJSON = append(b, ']')
	}
	return s.listJSON
}

func appendBinding(b []byte, binding Binding, state BindingState) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, binding.id...)
	b = append(b, `","exchange":`...)
	b = appendString(b, binding.exchange)
	b = append(b, `,"routing_key":`...)
	b = appendString(b, binding.routingKey)
	b = append(b, `,"arguments":`...)
	b = append(b, binding.argsJSON...)
	b = append(b, `,"state":"`...)
	b = append(b, state...)
	return append(b, `"}`...)
}

// markerList returns the JSON array inside an encoded binding marker. The id
// before it cannot hold a quote, so the first match is the member itself.
func markerList(marker Frame) []byte {
	object := marker.JSON()
	_, list, _ := bytes.Cut(object[:len(object)-1], []byte(bindingsMember))
	return list
}

// MarshalJSON returns the binding as REST and frames show it.
func (b BindingStatus) MarshalJSON() ([]byte, error) {
	return appendBinding(nil, b.Binding, b.State), nil
}

// Attach adds a reader. Errors: CodeSubscriptionNotFound when the subscription
// has ended, CodeLimitReached at the cap of an owned subscription,
// CodeShuttingDown.
func (s *Subscription) Attach(spec AttachSpec) (*Attachment, error) {
	a := &Attachment{sub: s, transport: spec.Transport}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		if s.ended.Reason == EndShutdown {
			return nil, errShuttingDown()
		}
		return nil, Errorf(CodeSubscriptionNotFound, "the subscription has ended")
	}
	if limit := s.broker.limits.MaxAttachments; !s.Shared() && len(s.attachments) >= limit {
		e := Errorf(CodeLimitReached, "the subscription has as many attachments as it may have")
		e.Limit = "max-attachments"
		return nil, e
	}
	a.place(spec.Start)
	s.attachments[a] = struct{}{}
	s.attached[spec.Transport]++
	if len(s.attachments) == 1 {
		s.prioritize(true)
	}
	if s.lingerTimer != nil {
		s.lingerTimer.Stop()
	}
	return a, nil
}

// prioritize tells the queue whether anybody is attached. s.mu is held.
func (s *Subscription) prioritize(attached bool) {
	if p, ok := s.queue.(Prioritizer); ok {
		p.SetPriority(attached)
	}
}

// Pause holds back the events of all attachments, until Resume.
func (s *Subscription) Pause() { s.setPaused(true) }

// Resume lifts Pause.
func (s *Subscription) Resume() { s.setPaused(false) }

func (s *Subscription) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == paused {
		return
	}
	s.paused = paused
	s.signalAll()
}

// signalAll wakes every attachment. s.mu is held.
func (s *Subscription) signalAll() {
	for a := range s.attachments {
		a.signal()
	}
}

// SetLinger changes how long the subscription outlives its last attachment, from
// now on if nobody is attached.
func (s *Subscription) SetLinger(linger time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linger = linger
	if s.ended == nil && len(s.attachments) == 0 {
		s.idleSince = time.Now()
		s.armLinger()
	}
}

// armLinger starts the wait for the next attachment. s.mu is held.
func (s *Subscription) armLinger() {
	wait := max(0, time.Until(s.idleSince.Add(s.linger)))
	if s.lingerTimer == nil {
		s.lingerTimer = time.AfterFunc(wait, s.lingered)
		return
	}
	s.lingerTimer.Reset(wait)
}

// lingered ends the subscription if nobody came; the timer may have fired just
// when somebody did, or before the linger was made longer.
func (s *Subscription) lingered() {
	s.mu.Lock()
	over := len(s.attachments) == 0 && time.Since(s.idleSince) >= s.linger
	if over {
		s.endLocked(EndExpired)
	}
	s.mu.Unlock()
}

// Extend says that the owner has shown a token that ends then, and the
// subscription with it. One that ends earlier than what is known changes
// nothing: tokens may be shown in any order. It applies to owned subscriptions.
func (s *Subscription) Extend(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.expires) {
		s.setExpiresLocked(at)
	}
}

const (
	// expirySlack is how much later than its owner's token a subscription ends, so
	// that the owner's own streams end first, each with its token and not with this.
	expirySlack = 250 * time.Millisecond
	// expiryLook is after how long the end is looked at again at the latest. A
	// token may end in the year 9999, and more than 292 years are no Duration.
	expiryLook = 24 * time.Hour
)

func (s *Subscription) setExpiresLocked(at time.Time) {
	s.expires = at
	if s.expiryTimer != nil {
		s.expiryTimer.Stop()
	}
	if at.IsZero() || s.ended != nil {
		return
	}
	s.expiryTimer = time.AfterFunc(s.expiryWait(), s.expired)
}

// expiryWait is how long the timer waits. s.mu is held.
func (s *Subscription) expiryWait() time.Duration {
	return min(max(0, time.Until(s.expires)), expiryLook) + expirySlack
}

// expired ends the subscription, unless its time was moved, or it ended, just when
// the timer fired. The timer runs on the monotonic clock and a token's end is on the
// wall's, which may have been set back meanwhile: then there is some left to wait
// for, as where the end is far.
func (s *Subscription) expired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.expires.IsZero() || s.ended != nil:
	case time.Until(s.expires) > 0:
		s.expiryTimer.Reset(s.expiryWait())
	default:
		s.endLocked(EndExpired)
	}
}

// End ends the subscription: attachments get the reason, the queue is deleted.
// It returns at once; Done tells when all is gone. It is idempotent.
func (s *Subscription) End(reason EndReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(reason)
}

// Unattached reports whether EndIfUnattached would end the subscription now.
func (s *Subscription) Unattached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attachments) == 0 && s.ended == nil
}

// EndIfUnattached ends the subscription unless somebody is attached, and
// reports whether it did.
func (s *Subscription) EndIfUnattached(reason EndReason) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attachments) > 0 || s.ended != nil {
		return false
	}
	s.endLocked(reason)
	return true
}

func (s *Subscription) endLocked(reason EndReason) {
	if s.ended != nil {
		return
	}
	s.ended = &End{Reason: reason}
	if s.lingerTimer != nil {
		s.lingerTimer.Stop()
	}
	if s.expiryTimer != nil {
		s.expiryTimer.Stop()
	}
	s.signalAll()
	s.broker.forget(s) // at once, so that whoever asks next gets a new one
}
