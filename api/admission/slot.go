package admission

import (
	"slices"
	"time"
)

type slotKind uint8

const (
	slotStream slotKind = iota
	slotOwned
)

// Slot is one counted stream or subscription. It is safe for concurrent use.
type Slot struct {
	gate *Gate
	kind slotKind

	// All below is guarded by gate.mu.

	caller   *caller
	released bool
	bound    int         // how many subscriptions the caller may own
	idle     func() bool // whether yields would end it
	yields   func() bool
	expires  time.Time
	extend   func(time.Time)
}

// Yields lets the subscription of this slot give way when its caller is at the
// bound: idle reports whether nobody is attached, and end ends it if so, and
// reports whether it did. Before this call it never gives way, so one that is
// about to be attached is safe.
func (s *Slot) Yields(idle, end func() bool) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	s.idle, s.yields = idle, end
}

// Settle says that the subscription of this slot is made: now the oldest that
// yield give way, if the caller is above its bound, and not for one that could
// not be made. It fails as Gate.Owned does where none gives way any more, because
// all have been attached meanwhile; then the caller ends the new one.
func (s *Slot) Settle() error {
	for {
		s.gate.mu.Lock()
		above, candidates := len(s.caller.owned)-s.bound, s.caller.yielding()
		s.gate.mu.Unlock()
		if above <= 0 {
			return nil
		}
		i := slices.IndexFunc(candidates, func(s *Slot) bool { return s.yields() })
		if i < 0 {
			return errOwned()
		}
		candidates[i].Release()
	}
}

// Expires says when the subscription of this slot ends with its owner's token,
// and how to move that; extend ignores a time that is earlier than another. A
// newer token that was shown while the subscription was made counts, too.
func (s *Slot) Expires(at time.Time, extend func(time.Time)) {
	s.gate.mu.Lock()
	shown := s.expires
	s.extend = extend
	if at.After(shown) {
		s.expires = at
	}
	s.gate.mu.Unlock()
	if shown.After(at) {
		extend(shown)
	}
}

// Renew says that the caller showed a token that expires at this time. What the
// caller owns and would end earlier is extended to it, never shortened.
func (g *Gate) Renew(key string, at time.Time) {
	var extend []func(time.Time)
	g.mu.Lock()
	if c, known := g.callers.get(key); known {
		for _, s := range c.owned {
			if !s.expires.Before(at) {
				continue
			}
			s.expires = at
			if s.extend != nil { // else it is still being made
				extend = append(extend, s.extend)
			}
		}
	}
	g.mu.Unlock()
	for _, f := range extend {
		f(at)
	}
}

// Move counts the stream of this slot for another caller from now on. For the
// process it is the same stream. The error is a *broker.Error of CodeLimitReached;
// then it stays the first caller's.
func (s *Slot) Move(key string) error {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.caller(key, g.now())
	if c == s.caller || s.released {
		return nil
	}
	if c.streams >= g.limits.StreamsPerCaller {
		return errStreams()
	}
	s.caller.streams--
	c.streams++
	s.caller = c
	return nil
}

// Release gives the place back. Only the first call counts; a nil slot is fine.
func (s *Slot) Release() {
	if s == nil {
		return
	}
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.released {
		return
	}
	s.released = true
	switch s.kind {
	case slotStream:
		s.caller.streams--
		g.streams--
	case slotOwned:
		if i := slices.Index(s.caller.owned, s); i >= 0 {
			s.caller.owned = slices.Delete(s.caller.owned, i, i+1)
		}
		g.owned--
	}
}
