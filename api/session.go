package api

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// session is the caller behind one stream: its place among the counted, its
// token's expiry, and what it may ask for over WebSocket.
type session struct {
	api        *API
	slot       *admission.Slot
	attachment *broker.Attachment // set by open, before anybody else has the session
	audience   *audience          // that it is of; nil where none is needed. Set as attachment

	mu     sync.Mutex  // guards all below
	caller caller      // replaced by auth
	expiry *time.Timer // ends the attachment with its token; nil without one
	lapsed bool        // it has: no token can prolong the stream any more
}

var _ transport.Session = (*session)(nil)

// newSession counts a stream of the caller.
func (a *API) newSession(c caller) (*session, error) {
	slot, err := a.opts.Admission.Stream(c.key)
	if err != nil {
		return nil, err
	}
	return &session{api: a, slot: slot, caller: c}, nil
}

// release gives back what a stream holds that has not begun.
func (s *session) release() { s.slot.Release() }

// identify takes the token of a first message, and counts the stream for the
// caller it names rather than the address.
func (s *session) identify(ctx context.Context, token string, to target) error {
	c, err := s.api.callerOf(ctx, token)
	if err != nil {
		return err
	}
	if err := to.allow(c); err != nil {
		return err
	}
	if err := s.slot.Move(c.key); err != nil {
		return err
	}
	s.caller = c
	s.api.opts.Admission.Renew(c.key, c.Expires)
	return nil
}

// callerOf verifies a token that came in a WebSocket message.
func (a *API) callerOf(ctx context.Context, token string) (caller, error) {
	id, err := a.opts.Verifier.Verify(ctx, identity.Token(token))
	if err != nil {
		return caller{}, unauthorized(err)
	}
	return caller{Identity: id, key: id.Caller()}, nil
}

// open attaches. On an error it has released the session.
func (s *session) open(ctx context.Context, t broker.Transport, to target) error {
	opened := false
	defer func() {
		if !opened { // also when something panics
			s.release()
		}
	}()
	attachment, err := to.attach(ctx, s.caller, t)
	if err != nil {
		return err
	}
	opened, s.attachment = true, attachment
	if s.api.opts.Verifier == nil {
		return nil
	}
	s.api.guests.add(s)
	// What was bound between the check and the attaching found no guest to expel.
	if err := s.api.mayRead(s.caller, attachment.Subscription()); err != nil {
		attachment.Close()
		s.Closed()
		return err
	}
	s.arm(s.caller.Expires)
	return nil
}

// arm ends the attachment at the time the token expires.
func (s *session) arm(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.IsZero() {
		return
	}
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.expiry = time.AfterFunc(time.Until(at), s.expired)
}

// expired ends the attachment, unless auth replaced the token just when the timer
// fired. The timer runs on the monotonic clock and a token's end is on the wall's,
// which may have been set back meanwhile: then there is some left to wait for.
func (s *session) expired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := time.Until(s.caller.Expires)
	switch {
	case s.expiry == nil: // closed meanwhile
	case left > 0:
		s.expiry.Reset(left)
	default:
		s.lapsed = true
		s.attachment.End(broker.EndTokenExpired)
	}
}

func (s *session) current() caller {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caller
}

// Allow implements transport.Session.
func (s *session) Allow() error {
	if err := s.api.opts.Admission.Request(s.current().key); err != nil {
		return s.api.socketRefused(context.Background(), err)
	}
	return nil
}

// Bind implements transport.Session.
func (s *session) Bind(ctx context.Context, bindings json.RawMessage) (json.RawMessage, error) {
	return s.change(ctx, bindings, func(c caller, sub *broker.Subscription, list bindingList) error {
		return s.api.bind(ctx, c, sub, list)
	})
}

// Unbind implements transport.Session.
func (s *session) Unbind(ctx context.Context, bindings json.RawMessage) (json.RawMessage, error) {
	return s.change(ctx, bindings, func(_ caller, sub *broker.Subscription, list bindingList) error {
		return s.api.unbind(ctx, sub, list)
	})
}

// change runs what REST would run for the same caller.
func (s *session) change(ctx context.Context, raw json.RawMessage, do func(caller, *broker.Subscription, bindingList) error) (json.RawMessage, error) {
	sub := s.attachment.Subscription()
	if err := s.changeBindings(sub, raw, do); err != nil {
		return nil, s.api.socketRefused(ctx, err)
	}
	return resource(sub), nil
}

func (s *session) changeBindings(sub *broker.Subscription, raw json.RawMessage, do func(caller, *broker.Subscription, bindingList) error) error {
	if sub.Shared() {
		return broker.Errorf(broker.CodeSharedSubscription, "everybody on this URL shares the subscription; ask for share=false to change one of your own")
	}
	list, err := s.api.parseBindings(raw)
	if err != nil {
		return err
	}
	c := s.current()
	if err := s.api.isOwner(c, sub); err != nil {
		return err
	}
	return do(c, sub, list)
}

// Auth implements transport.Session: it replaces the caller's token in place.
func (s *session) Auth(ctx context.Context, token string) (json.RawMessage, error) {
	next, err := s.renew(ctx, token)
	if err != nil {
		return nil, s.api.socketRefused(ctx, err)
	}
	if err := s.become(next); err != nil {
		return nil, s.api.socketRefused(ctx, err)
	}
	s.audience.look(s) // changes that are under way know the old token
	if err := s.api.mayRead(next, s.attachment.Subscription()); err != nil {
		// Something was bound between the check and now: whoever did so saw the old token.
		s.attachment.End(broker.EndForbidden)
		return nil, s.api.socketRefused(ctx, err)
	}
	s.arm(next.Expires)
	s.api.opts.Admission.Renew(next.key, next.Expires)
	return resource(s.attachment.Subscription()), nil
}

// become makes the stream the new token's, unless the old one's end was first.
func (s *session) become(next caller) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lapsed {
		return broker.Errorf(broker.CodeUnauthorized, "the stream's token has expired before this one came, and the stream ends")
	}
	s.caller = next
	return nil
}

// Resource implements transport.Session.
func (s *session) Resource() json.RawMessage { return resource(s.attachment.Subscription()) }

// renew checks a new token; the old one stays if there is an error.
func (s *session) renew(ctx context.Context, token string) (caller, error) {
	now := s.current()
	switch {
	case s.api.opts.Verifier == nil:
		return caller{}, broker.Errorf(broker.CodeInvalidRequest, "this gateway takes no tokens")
	case now.tokenless:
		return caller{}, broker.Errorf(broker.CodeInvalidRequest, "this stream was opened without a token; there is none to replace")
	}
	next, err := s.api.callerOf(ctx, token)
	if err != nil {
		return caller{}, err
	}
	if next.key != now.key {
		return caller{}, broker.Errorf(broker.CodeForbidden, "the token is another subject's")
	}
	return next, s.api.mayRead(next, s.attachment.Subscription())
}

// Closed implements transport.Session.
func (s *session) Closed() {
	s.mu.Lock()
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	s.mu.Unlock()
	s.api.guests.remove(s)
	s.slot.Release()
}
