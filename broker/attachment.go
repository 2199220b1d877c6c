package broker

import "time"

// Transport is how an attachment reaches its client.
type Transport uint8

// The transports.
const (
	// SSE is Server-Sent Events (WHATWG EventSource).
	SSE Transport = iota
	// WS is WebSocket (RFC 6455).
	WS
)

// From says where a stream starts that gives no position.
type From uint8

// The places to start from.
const (
	// FromDefault is FromUnread on owned subscriptions and FromLatest on shared ones.
	FromDefault From = iota
	// FromLatest takes only what comes from now on.
	FromLatest
	// FromEarliest starts with the oldest event retained.
	FromEarliest
	// FromUnread starts after the newest event that was handed to any
	// attachment's socket, or with the oldest retained if that is newer.
	FromUnread
	// FromLast takes the newest Start.Last events that are retained.
	FromLast
)

// Start says where an attachment begins to read.
type Start struct {
	// After is the position that the client gave; zero if it gave none.
	After Position
	// Malformed says that it gave one (Last-Event-ID) that is none.
	Malformed bool
	// Lost says that the position's subscription is gone, so that the gap's
	// reason is subscription_lost rather than unknown_position.
	Lost bool
	// From is the place to start from when no position was given.
	From From
	// Last is how many events FromLast takes.
	Last int
}

// AttachSpec says what Attach shall make.
type AttachSpec struct {
	Transport Transport
	Start     Start
}

// EndReason says why a stream ends; it is the reason of its bye.
type EndReason string

// Why the core, or whoever owns a stream, ends it.
const (
	EndDeleted      EndReason = "subscription_deleted"
	EndExpired      EndReason = "subscription_expired"
	EndTokenExpired EndReason = "token_expired"
	EndShutdown     EndReason = "shutting_down"
	EndSlow         EndReason = "slow_reader"
	EndInternal     EndReason = "internal_error"
	// EndForbidden ends a stream whose token does not grant what was bound.
	EndForbidden EndReason = "forbidden_binding"
)

// End is the error with which Next tells that an attachment is over.
type End struct{ Reason EndReason } //nolint:errname // the end of a stream is an answer first, and an error by form

// Error implements error.
func (e *End) Error() string { return "the stream has ended: " + string(e.Reason) }

// Attachment is one reader of a subscription, at its own position. Next, Handed
// and Close are for the one goroutine that owns the stream; everything else is
// safe for concurrent use.
//
// The fields that each message to each reader needs come first, and all fit two
// cache lines of 64 bytes: between two messages to a crowd they leave the cache.
type Attachment struct {
	sub *Subscription

	// All below is guarded by sub.mu, but for what only the stream's goroutine
	// uses, and transport, which never changes. wake and onWake do not change
	// after the first Next, and are read without it by who has seen the attachment
	// wait.

	onWake Wakeable // told in place of a token into wake
	// pos is the offset of the last event that Next returned or counted as missing.
	pos uint64
	// given is the last event that Next returned, before the one in front of
	// those that it returned last. Only the stream's goroutine uses them.
	given, before uint64
	ended         *End
	waitsAt       int32 // 1 + its index in sub.waiters; 0 when it is not there
	holds         int32 // of Hold without Release
	// dry says that there was no more than Next returned last, live that these
	// came while the attachment was reading. As given and before.
	dry, live bool

	transport  Transport
	readySent  bool
	caughtUp   bool // it has been at the newest event, and nothing has held it back since
	paused     bool
	sawPaused  bool // what the client was told of paused …
	sawSubHold bool // … and of the subscription's pause
	lost       bool // a gap without a count is due before the next event
	closed     bool
	resumed    bool
	freeStart  bool // it began by "from": nothing before its first frame counts as missing

	wake  chan struct{} // capacity 1; nil until somebody may want it
	start Start
}

// Wakeable is who waits for an attachment without a goroutine, see
// Attachment.Notify.
type Wakeable interface {
	// Woken says that Next is worth calling. It must not block, and is called on
	// any goroutine, also with locks of the core held.
	Woken()
}

// place sets where the attachment begins to read. The subscription's mutex is held.
func (a *Attachment) place(start Start) {
	r := a.sub.log
	a.start = start
	after := start.After
	switch {
	case start.Malformed || start.Lost ||
		!after.IsZero() && (after.Stream != a.sub.stream || after.Offset > r.newest):
		a.lost = true
		a.pos = r.first - 1
	case !after.IsZero():
		a.resumed = true
		a.pos = after.Offset
	default:
		a.freeStart = true
		a.pos = a.from(start)
	}
}

func (a *Attachment) from(start Start) uint64 {
	r := a.sub.log
	from := start.From
	if from == FromDefault {
		from = FromUnread
		if a.sub.Shared() {
			from = FromLatest
		}
	}
	switch from { //nolint:exhaustive // the others are FromLatest
	case FromEarliest:
		return r.first - 1
	case FromUnread:
		return max(a.sub.handed.Load(), r.first-1)
	case FromLast:
		return r.newest - uint64(min(max(start.Last, 0), r.len()))
	}
	return r.newest
}

// Next appends the frames that are ready to dst, at most limit of the log's
// events, of which all but the first are bounded to maxBytes together (as event
// streams have them), and a few more that belong before them, and returns the
// extended slice. It never blocks. When it appended nothing, or all there was (see Dry), a
// token will come into Wake as soon as it is worth calling again. When the
// attachment is over, the error is an *End and nothing was appended.
func (a *Attachment) Next(dst []Frame, limit, maxBytes int) ([]Frame, error) {
	s := a.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := a.over(); end != nil {
		return dst, end
	}
	had := len(dst)
	if a.onWake == nil {
		a.makeWake()
	}
	if !a.readySent {
		dst = a.appendReady(dst)
	}
	dst = a.appendPauses(dst)
	if a.paused || s.paused || a.holds > 0 {
		a.caughtUp = false
	} else {
		dst = a.read(dst, limit, maxBytes)
	}
	if a.dry = len(dst) == had || a.pos == s.log.newest; a.dry && a.waitsAt == 0 {
		s.waiters = append(s.waiters, a)
		a.waitsAt = int32(len(s.waiters))
	}
	return dst, nil
}

// Dry reports whether nothing was left after the last Next, so that the next
// call can wait for a token. It is for the stream's goroutine.
func (a *Attachment) Dry() bool { return a.dry }

// read appends what the log has for the attachment. sub.mu is held.
func (a *Attachment) read(dst []Frame, limit, maxBytes int) []Frame {
	log := a.sub.log
	dst = a.appendMissing(dst)
	n := len(dst)
	a.before, a.live = a.pos, a.caughtUp
	if dst = log.read(dst, a.pos, limit, maxBytes); len(dst) > n {
		a.pos += uint64(len(dst) - n)
		a.given = a.pos
	}
	a.caughtUp = a.caughtUp || a.pos == log.newest
	return dst
}

func (a *Attachment) over() error {
	switch {
	case a.ended != nil:
		return a.ended
	case a.sub.ended != nil:
		return a.sub.ended
	case a.closed:
		return &End{Reason: EndInternal}
	}
	return nil
}

func (a *Attachment) appendReady(dst []Frame) []Frame {
	s := a.sub
	if a.freeStart && a.pos+1 < s.log.first {
		a.pos = s.log.first - 1 // evicted between Attach and now: the client has seen nothing yet
	}
	id := Position{Stream: s.stream, Offset: a.pos}
	switch {
	case a.start.Malformed:
		id = Position{}
	case !a.start.After.IsZero():
		id = a.start.After
	}
	a.readySent = true
	return append(dst, readyFrame(id, s.stream, s.id, s.bindingsJSON(), a.resumed))
}

// appendPauses tells what the client does not know yet of the two pauses.
func (a *Attachment) appendPauses(dst []Frame) []Frame {
	if a.sub.paused != a.sawSubHold {
		a.sawSubHold = a.sub.paused
		dst = append(dst, pick(a.sawSubHold, framePausedSubscription, frameResumedSubscription))
	}
	if a.paused != a.sawPaused {
		a.sawPaused = a.paused
		dst = append(dst, pick(a.sawPaused, framePausedAttachment, frameResumedAttachment))
	}
	return dst
}

// appendMissing appends the reader's own gap, if one is due: its id is the
// position just before the next frame, so that coming back after it repeats nothing.
func (a *Attachment) appendMissing(dst []Frame) []Frame {
	s, r := a.sub, a.sub.log
	if !a.lost && a.pos+1 >= r.first {
		return dst
	}
	before := r.first - 1
	id := Position{Stream: s.stream, Offset: before}
	g := gap{reason: GapEvicted}
	switch {
	case !a.lost:
		g.missed = r.tally.between(a.pos, before)
	case a.start.Lost:
		g = gap{reason: GapSubscriptionLost, missed: unknownCount}
	default:
		g = gap{reason: GapUnknownPosition, missed: unknownCount}
	}
	if g.missed != 0 { // 0: binding markers alone were evicted
		s.broker.counts.gap(g.reason)
		dst = append(dst, gapFrame(id, g))
	}
	if r.marker.offset > a.pos {
		dst = append(dst, markerFrame(id, markerList(r.marker)))
	}
	a.lost = false
	a.pos = before
	return dst
}

// Wake returns the channel, of capacity one, into which a token comes when Next
// is worth calling again. Tokens may be spurious.
func (a *Attachment) Wake() <-chan struct{} {
	a.sub.mu.Lock()
	defer a.sub.mu.Unlock()
	a.makeWake()
	return a.wake
}

func (a *Attachment) makeWake() {
	if a.wake == nil {
		a.wake = make(chan struct{}, 1)
	}
}

// Notify makes wake-ups tell w in place of putting a token into Wake, and tells
// it once. It comes before the first Next. An idle stream then needs neither a
// goroutine nor a channel.
func (a *Attachment) Notify(w Wakeable) {
	a.sub.mu.Lock()
	a.onWake = w
	a.sub.mu.Unlock()
	w.Woken()
}

// Handed says that all frames Next has returned so far were handed to the
// client's socket; it is what FromUnread goes by.
func (a *Attachment) Handed() {
	s := a.sub
	for {
		before := s.handed.Load()
		if a.given <= before || s.handed.CompareAndSwap(before, a.given) {
			break
		}
	}
	if s.broker.tracer != nil && s.followed.Load() {
		s.written(a)
	}
}

// Live reports whether the events that Next returned last came in while the
// attachment was reading: not before it was opened, and not while it was paused.
// How long they took to get here is then the gateway's and the client's doing.
// It is for the stream's goroutine.
func (a *Attachment) Live() bool { return a.live }

// Pause holds back this attachment's events; its log goes on filling.
func (a *Attachment) Pause() { a.setPaused(true) }

// Resume lifts Pause.
func (a *Attachment) Resume() { a.setPaused(false) }

func (a *Attachment) setPaused(paused bool) {
	a.sub.mu.Lock()
	defer a.sub.mu.Unlock()
	a.paused = paused
	a.signal()
}

// Hold keeps events back without a word to the client, until Release: while it
// is being decided whether the client may see what comes. Holds add up.
func (a *Attachment) Hold() { a.hold(1) }

// Release takes back one Hold.
func (a *Attachment) Release() { a.hold(-1) }

func (a *Attachment) hold(n int32) {
	a.sub.mu.Lock()
	defer a.sub.mu.Unlock()
	a.holds += n
	a.signal()
}

// End ends this attachment alone: Next answers an *End from now on. The first
// reason stays.
func (a *Attachment) End(reason EndReason) {
	a.sub.mu.Lock()
	defer a.sub.mu.Unlock()
	if a.ended == nil {
		a.ended = &End{Reason: reason}
	}
	a.signal()
}

// Newest returns the id of the newest event of the log, "" if there is none.
func (a *Attachment) Newest() string {
	a.sub.mu.Lock()
	defer a.sub.mu.Unlock()
	if a.sub.log.newest == 0 {
		return ""
	}
	return Position{Stream: a.sub.stream, Offset: a.sub.log.newest}.String()
}

// Lag returns how many events the attachment is behind the newest.
func (a *Attachment) Lag() uint64 {
	a.sub.mu.Lock()
	defer a.sub.mu.Unlock()
	return a.sub.log.newest - min(a.pos, a.sub.log.newest)
}

// Transport returns how the attachment reaches its client.
func (a *Attachment) Transport() Transport { return a.transport }

// Subscription returns what the attachment reads.
func (a *Attachment) Subscription() *Subscription { return a.sub }

// Close detaches. The linger of the subscription starts with its last
// attachment's Close. It is idempotent.
func (a *Attachment) Close() {
	s := a.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	delete(s.attachments, a)
	s.attached[a.transport]--
	s.stopWaiting(a)
	if len(s.attachments) == 0 && s.ended == nil {
		s.prioritize(false)
		s.idleSince = time.Now()
		s.armLinger()
	}
}

// stopWaiting takes the attachment out of the waiters, or those who come and go
// while nothing is published would pile up there. s.mu is held.
func (s *Subscription) stopWaiting(a *Attachment) {
	if a.waitsAt == 0 {
		return
	}
	n := len(s.waiters) - 1
	last := s.waiters[n]
	s.waiters[a.waitsAt-1] = last
	last.waitsAt = a.waitsAt
	s.waiters[n] = nil
	s.waiters = s.waiters[:n]
	a.waitsAt = 0
}

// signal tells the stream that Next is worth calling. s.mu is held, or the
// attachment has just been taken from the waiters.
func (a *Attachment) signal() {
	if a.onWake != nil {
		a.onWake.Woken()
		return
	}
	if a.wake == nil {
		return // it has not called Next yet, and will
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
