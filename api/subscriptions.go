package api

import (
	"context"
	"net/http"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// listWait is how long a list waits for its turn.
const listWait = 5 * time.Second

// deleteWait is how long a DELETE waits for the queue to be gone at the broker.
const deleteWait = 5 * time.Second

// owned returns the subscription in the path, if the caller may see and change
// it: in anonymous mode whoever knows the id, in token mode its owner.
func (a *API) owned(r *http.Request, c caller) (*broker.Subscription, error) {
	sub, ok := a.opts.Broker.Get(parameter(r, "id"))
	if !ok {
		return nil, errNoSubscription()
	}
	if err := a.isOwner(c, sub); err != nil {
		return nil, err
	}
	return sub, nil
}

func errNoSubscription() error {
	return broker.Errorf(broker.CodeSubscriptionNotFound, "there is no subscription with this id; it may have expired")
}

func (a *API) isOwner(c caller, sub *broker.Subscription) error {
	if a.opts.Verifier != nil && (c.tokenless || sub.Owner() != c.key) {
		return broker.Errorf(broker.CodeForbidden, "the subscription belongs to another caller")
	}
	return nil
}

func (a *API) createSubscription(w http.ResponseWriter, r *http.Request, c caller) error {
	body, err := readObject(w, r, "bindings", "linger_seconds", "payload")
	if err != nil {
		return err
	}
	var bindings bindingList
	if body.has("bindings") {
		if bindings, err = a.parseBindings(body["bindings"]); err != nil {
			return err
		}
	}
	spec := broker.Spec{Bindings: bindings.list, Linger: a.opts.Linger}
	if body.has("linger_seconds") {
		if spec.Linger, err = a.linger(body); err != nil {
			return err
		}
	}
	payload, err := body.stringOr("payload", string(broker.PayloadAuto))
	if err != nil {
		return err
	}
	var known bool
	if spec.Payload, known = broker.ParsePayloadMode(payload); !known || payload == "" {
		return invalid("payload", "this is one of auto and raw")
	}
	if err := a.mayBind(c, bindings.list); err != nil {
		return bindings.locate(err)
	}
	sub, _, err := a.create(r.Context(), c, spec)
	if err != nil {
		return bindings.locate(err)
	}
	w.Header().Set("Location", selfLink(sub))
	return writeJSON(w, http.StatusCreated, document(sub))
}

// linger takes the member linger_seconds.
func (a *API) linger(body object) (time.Duration, error) {
	seconds, err := body.int("linger_seconds", 1, int64(a.opts.MaxLinger/time.Second))
	return time.Duration(seconds) * time.Second, err
}

// listSubscriptions writes one subscription after the other, for one request of
// a caller at a time: a whole list can have several megabytes, and who does not
// read must not have many of them wait for that. Nor does the line grow: who would
// have to wait for longer than listWait is refused.
func (a *API) listSubscriptions(w http.ResponseWriter, r *http.Request, c caller) error {
	if a.opts.Verifier == nil {
		return broker.Errorf(broker.CodeForbidden, "without tokens, knowing a subscription's id is owning it; there is no list")
	}
	ctx, cancel := context.WithTimeout(r.Context(), listWait)
	defer cancel()
	end, err := a.lists.take(ctx, c.key)
	if err != nil {
		refusal := broker.Errorf(broker.CodeRateLimited, "another list of this caller is being read; there is one at a time")
		refusal.RetryAfter = listWait
		return refusal
	}
	defer end()
	limitAnswer(w) // anew: it had to wait
	w.Header().Set("Content-Type", "application/json")
	text := []byte(`{"subscriptions":[`)
	for i, sub := range a.opts.Broker.Owned(c.key) {
		if i > 0 {
			text = append(text, ',')
		}
		if _, err := w.Write(append(text, encodeJSON(document(sub))...)); err != nil {
			return nil // the client is gone, and no other answer can follow
		}
		text = text[:0]
	}
	writeLine(w, append(text, "]}"...))
	return nil
}

func (a *API) getSubscription(w http.ResponseWriter, r *http.Request, c caller) error {
	sub, err := a.owned(r, c)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, document(sub))
}

func (a *API) patchSubscription(w http.ResponseWriter, r *http.Request, c caller) error {
	body, err := readObject(w, r, "linger_seconds")
	if err != nil {
		return err
	}
	linger, err := a.linger(body)
	if err != nil {
		return err
	}
	sub, err := a.owned(r, c)
	if err != nil {
		return err
	}
	sub.SetLinger(linger)
	return writeJSON(w, http.StatusOK, document(sub))
}

// deleteSubscription answers when the queue is gone at the broker, or after a
// while when the broker is slow: the id has no meaning any more in either case.
func (a *API) deleteSubscription(w http.ResponseWriter, r *http.Request, c caller) error {
	sub, err := a.owned(r, c)
	if err != nil {
		return err
	}
	sub.End(broker.EndDeleted)
	ctx, cancel := context.WithTimeout(r.Context(), deleteWait)
	defer cancel()
	select {
	case <-sub.Done():
	case <-ctx.Done():
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) pauseSubscription(w http.ResponseWriter, r *http.Request, c caller) error {
	return a.withOwned(w, r, c, (*broker.Subscription).Pause)
}

func (a *API) resumeSubscription(w http.ResponseWriter, r *http.Request, c caller) error {
	return a.withOwned(w, r, c, (*broker.Subscription).Resume)
}

func (a *API) withOwned(w http.ResponseWriter, r *http.Request, c caller, do func(*broker.Subscription)) error {
	sub, err := a.owned(r, c)
	if err != nil {
		return err
	}
	do(sub)
	return writeJSON(w, http.StatusOK, document(sub))
}
