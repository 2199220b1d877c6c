package api

import (
	"context"
	"math"

	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/broker"
)

// limitBroker is the Limit of a refusal by the broker's own protection.
const limitBroker = "broker"

// mayWork refuses new work that would have to wait for what cannot be used now,
// or would make it worse.
func (a *API) mayWork() error {
	if a.isDraining() {
		return errDraining()
	}
	health := a.opts.Broker.Source().Health()
	switch {
	case !health.Ready:
		return broker.Errorf(broker.CodeBrokerUnavailable, "the broker cannot be used now")
	case health.Overloaded:
		err := broker.Errorf(broker.CodeOverCapacity, "the broker is busy; running streams go on, new subscriptions wait")
		err.Limit = limitBroker
		return err
	}
	return nil
}

// admitCreation is the admission of a shared subscription that is made: the
// broker's health, then the rates.
func (a *API) admitCreation(c caller) error {
	if err := a.mayWork(); err != nil {
		return err
	}
	return a.opts.Admission.Create(c.key)
}

// create makes an owned subscription that counts against the caller. The spec's
// owner, expiry and end are set here. The slot is released when the subscription ends.
func (a *API) create(ctx context.Context, c caller, spec broker.Spec) (*broker.Subscription, *admission.Slot, error) {
	if err := a.mayWork(); err != nil { // before the counts: no place becomes free by waiting
		return nil, nil, err
	}
	slot, err := a.opts.Admission.Owned(c.key, c.SubscriptionLimit(math.MaxInt))
	if err != nil {
		return nil, nil, err
	}
	if err := a.opts.Admission.Create(c.key); err != nil {
		slot.Release()
		return nil, nil, err
	}
	ctx, cancel := a.brokerContext(ctx)
	defer cancel()
	spec.Owner, spec.Expires, spec.OnEnd = c.key, c.Expires, slot.Release
	sub, err := a.opts.Broker.Create(ctx, spec)
	if err != nil {
		slot.Release()
		return nil, nil, err
	}
	if err := slot.Settle(); err != nil {
		sub.End(broker.EndDeleted) // nobody knows it
		return nil, nil, err
	}
	if !c.Expires.IsZero() {
		slot.Expires(c.Expires, sub.Extend)
	}
	return sub, slot, nil
}

// share finds or makes the shared subscription.
func (a *API) share(ctx context.Context, c caller, w want) (*broker.Subscription, error) {
	ctx, cancel := a.brokerContext(ctx)
	defer cancel()
	return a.opts.Broker.Share(ctx, broker.Spec{
		Bindings: w.bindings.list, Payload: w.payload, Linger: a.opts.StreamLinger, StreamMade: true,
		Admit: func() error { return a.admitCreation(c) },
	})
}
