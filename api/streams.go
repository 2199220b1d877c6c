package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// target is what a stream asks for. It is the same for both transports, and holds
// nothing of the HTTP request.
type target struct {
	// allow refuses what no cap needs to be asked for: what does not exist, or is not for
	// this caller. It takes nothing, so that there is nothing to give back.
	allow func(c caller) error
	// attach finds or makes the subscription and attaches to it. allow comes before.
	attach func(ctx context.Context, c caller, t broker.Transport) (*broker.Attachment, error)
}

// streamByBindings serves GET /v1/sse.
func (a *API) streamByBindings(w http.ResponseWriter, r *http.Request, c caller) error {
	if c.tokenless {
		return errTokenMissing()
	}
	want, err := a.parseWant(r, endpointSSE)
	if err != nil {
		return err
	}
	return a.stream(w, r, c, a.byBindings(want))
}

// streamByID serves GET /v1/subscriptions/{id}/sse.
func (a *API) streamByID(w http.ResponseWriter, r *http.Request, c caller) error {
	if c.tokenless && !a.opts.CapabilityAttach {
		return errTokenMissing()
	}
	place, err := parsePlace(r)
	if err != nil {
		return err
	}
	return a.stream(w, r, c, a.byID(parameter(r, "id"), place))
}

// socketByBindings serves GET /v1/ws.
func (a *API) socketByBindings(w http.ResponseWriter, r *http.Request, c caller) error {
	want, err := a.parseWant(r, endpointWS)
	if err != nil {
		return err
	}
	return a.socket(w, r, c, c.tokenless, a.byBindings(want))
}

// socketByID serves GET /v1/subscriptions/{id}/ws.
func (a *API) socketByID(w http.ResponseWriter, r *http.Request, c caller) error {
	place, err := parsePlace(r)
	if err != nil {
		return err
	}
	needAuth := c.tokenless && !a.opts.CapabilityAttach
	return a.socket(w, r, c, needAuth, a.byID(parameter(r, "id"), place))
}

func parsePlace(r *http.Request) (place, error) {
	q, err := parseQuery(r, placeParameters)
	if err != nil {
		return place{}, err
	}
	return q.place(r)
}

// headStream answers HEAD, which attaches and creates nothing.
func (a *API) headStream(w http.ResponseWriter) error {
	if a.isDraining() {
		return errDraining()
	}
	a.opts.Streams.HeadSSE(w)
	return nil
}

// stream opens an SSE stream.
func (a *API) stream(w http.ResponseWriter, r *http.Request, c caller, to target) error {
	if err := to.allow(c); err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		return a.headStream(w)
	}
	s, err := a.newSession(c)
	if err != nil {
		return err
	}
	unlimitAnswer(w) // before it is opened, which may take a while, too
	if err := s.open(r.Context(), broker.SSE, to); err != nil {
		return err
	}
	a.opts.Streams.ServeSSE(w, r, s.attachment, s)
	return nil
}

// socket opens a WebSocket, or refuses after the handshake. Without a token the
// address is counted until the first message says whose stream it is.
func (a *API) socket(w http.ResponseWriter, r *http.Request, c caller, needAuth bool, to target) error {
	if !needAuth {
		if err := to.allow(c); err != nil {
			return err
		}
	}
	s, err := a.newSession(c)
	if err != nil {
		return err
	}
	a.opts.Streams.ServeWS(w, r, transport.Handshake{
		NeedAuth: needAuth,
		Open: func(ctx context.Context, token *string) (transport.Opened, error) {
			if err := s.openSocket(ctx, token, to); err != nil {
				return transport.Opened{}, a.socketRefused(ctx, err)
			}
			return transport.Opened{
				Attachment: s.attachment, Session: s, Subscription: resource(s.attachment.Subscription()),
			}, nil
		},
		Refused: func(reason transport.Reason) {
			s.release()
			if reason == transport.ReasonUnauthorized {
				_ = a.socketRefused(context.Background(), errTokenMissing()) // transport has answered
			}
		},
	})
	return nil
}

// openSocket takes the token of the first message, if there is one, and attaches.
func (s *session) openSocket(ctx context.Context, token *string, to target) error {
	if token != nil {
		if err := s.identify(ctx, *token, to); err != nil {
			s.release()
			return err
		}
	}
	return s.open(ctx, broker.WS, to)
}

// socketRefused classifies and counts a refusal that transport answers. Where what was asked for has been given up,
// because its client is gone or the gateway stops, nobody is refused.
func (a *API) socketRefused(ctx context.Context, err error) error {
	refused := classify(err)
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		a.refused(ctx, nil, refused)
	}
	return refused
}

func errDraining() error {
	return broker.Errorf(broker.CodeShuttingDown, "the gateway is shutting down")
}

// byID attaches to the owned subscription with the id, for callers with a token that
// grants what can be read from it, or where the id suffices.
func (a *API) byID(id string, place place) target {
	find := func(c caller) (*broker.Subscription, error) {
		if a.isDraining() { // first: what a drain has ended is not gone for good
			return nil, errDraining()
		}
		sub, ok := a.opts.Broker.Get(id)
		if !ok {
			return nil, errNoSubscription()
		}
		return sub, a.mayRead(c, sub)
	}
	return target{
		allow: func(c caller) error {
			_, err := find(c)
			return err
		},
		attach: func(_ context.Context, c caller, t broker.Transport) (*broker.Attachment, error) {
			sub, err := find(c) // again: its bindings may have changed
			if err != nil {
				return nil, err
			}
			return sub.Attach(broker.AttachSpec{Transport: t, Start: place.start()})
		},
	}
}

// mayRead checks what can be read from a subscription. For its owner, whose own
// tokens granted each binding when it was made, that is the bindings of now. For
// others it is also those that are gone while their messages are not.
func (a *API) mayRead(c caller, sub *broker.Subscription) error {
	if a.idSuffices(sub) {
		return nil
	}
	if a.isOwner(c, sub) == nil {
		return a.mayListen(c, sub, sub.Bindings())
	}
	bindings, complete := sub.Reach()
	if !complete {
		return broker.Errorf(broker.CodeForbiddenBinding, "the subscription had so many bindings of late that only its owner may read it")
	}
	return a.mayListen(c, sub, bindings)
}

// mayListen checks bindings of a subscription that is there. An index would be of
// no use to the caller, who did not name them.
func (a *API) mayListen(c caller, sub *broker.Subscription, bindings []broker.Binding) error {
	if a.idSuffices(sub) {
		return nil
	}
	if err := a.mayBind(c, bindings); err != nil {
		return broker.AsError(err).WithBinding(-1)
	}
	return nil
}

// idSuffices reports whether nobody needs grants to read the subscription. A shared
// one has no id that could suffice.
func (a *API) idSuffices(sub *broker.Subscription) bool {
	return a.opts.Verifier == nil || a.opts.CapabilityAttach && !sub.Shared()
}

// byBindings attaches to the shared subscription of the bindings, or to one of the
// caller's own, where configuration and grants allow them.
func (a *API) byBindings(w want) target {
	return target{
		allow: func(c caller) error { return w.bindings.locate(a.mayBind(c, w.bindings.list)) },
		attach: func(ctx context.Context, c caller, t broker.Transport) (*broker.Attachment, error) {
			if a.isDraining() {
				return nil, errDraining()
			}
			if w.shared {
				att, err := a.attachShared(ctx, c, t, w)
				return att, w.bindings.locate(err)
			}
			if att := a.comeBack(c, t, w); att != nil {
				return att, nil
			}
			att, err := a.attachNew(ctx, c, t, w)
			return att, w.bindings.locate(err)
		},
	}
}

// attachShared attaches to the one shared subscription of these bindings. A
// position in its own log resumes; any other is of something that is gone.
func (a *API) attachShared(ctx context.Context, c caller, t broker.Transport, w want) (*broker.Attachment, error) {
	for tries := 0; ; tries++ {
		sub, err := a.share(ctx, c, w)
		if err != nil {
			return nil, err
		}
		start := w.place.start()
		start.Lost = w.place.given && w.place.position.Stream != sub.Stream()
		att, err := sub.Attach(broker.AttachSpec{Transport: t, Start: start})
		// Its linger can end between the two; the next one is a new one.
		if err == nil || broker.CodeOf(err) != broker.CodeSubscriptionNotFound || tries == 2 {
			return att, err
		}
		if err := waitEnded(ctx, sub); err != nil {
			return nil, err
		}
	}
}

func waitEnded(ctx context.Context, sub *broker.Subscription) error {
	timer := time.NewTimer(deleteWait)
	defer timer.Stop()
	select {
	case <-sub.Done():
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// comeBack attaches to the subscription that the stream made whose position is
// given, if it lives and is what is asked for; else it returns nil.
func (a *API) comeBack(c caller, t broker.Transport, w want) *broker.Attachment {
	if w.place.position.IsZero() {
		return nil
	}
	sub, ok := a.opts.Broker.ByStream(w.place.position.Stream)
	switch {
	case !ok || sub.Shared() || !sub.StreamMade():
		return nil
	case sub.Payload() != w.payload || !sub.HasBindings(w.bindings.list):
		return nil
	case a.isOwner(c, sub) != nil || a.mayRead(c, sub) != nil:
		return nil
	}
	att, err := sub.Attach(broker.AttachSpec{Transport: t, Start: w.place.start()})
	if err != nil {
		return nil // it has just ended, or is full: then a new one
	}
	return att
}

// attachNew makes an owned subscription for the stream. While nobody is attached
// any more it gives way to the caller's next one, so that reloading a page locks nobody out.
func (a *API) attachNew(ctx context.Context, c caller, t broker.Transport, w want) (*broker.Attachment, error) {
	sub, slot, err := a.create(ctx, c, broker.Spec{
		Bindings: w.bindings.list, Payload: w.payload, Linger: w.linger, StreamMade: true,
	})
	if err != nil {
		return nil, err
	}
	start := w.place.start()
	start.Lost = w.place.given
	att, err := sub.Attach(broker.AttachSpec{Transport: t, Start: start})
	if err != nil {
		sub.End(broker.EndDeleted)
		return nil, err
	}
	slot.Yields(sub.Unattached, func() bool { return sub.EndIfUnattached(broker.EndExpired) })
	return att, nil
}
