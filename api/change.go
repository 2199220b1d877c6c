package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/warren-gateway/warren/broker"
)

func (a *API) addBindings(w http.ResponseWriter, r *http.Request, c caller) error {
	return a.changeBindings(w, r, c, a.bind)
}

func (a *API) replaceBindings(w http.ResponseWriter, r *http.Request, c caller) error {
	return a.changeBindings(w, r, c, a.replace)
}

// change is one way of changing the bindings of a subscription that is the caller's.
type change func(ctx context.Context, c caller, sub *broker.Subscription, bindings bindingList) error

func (a *API) changeBindings(w http.ResponseWriter, r *http.Request, c caller, do change) error {
	body, err := readObject(w, r, "bindings")
	if err != nil {
		return err
	}
	if !body.has("bindings") {
		return invalid("bindings", "the field is missing")
	}
	bindings, err := a.parseBindings(body["bindings"])
	if err != nil {
		return err
	}
	sub, err := a.owned(r, c)
	if err != nil {
		return err
	}
	if err := do(r.Context(), c, sub, bindings); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, document(sub))
}

func (a *API) deleteBinding(w http.ResponseWriter, r *http.Request, c caller) error {
	sub, err := a.owned(r, c)
	if err != nil {
		return err
	}
	ctx, cancel := a.brokerContext(r.Context())
	defer cancel()
	if err := sub.UnbindID(ctx, parameter(r, "binding_id")); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, document(sub))
}

// bind adds bindings to an owned subscription, for REST and WebSocket alike.
func (a *API) bind(ctx context.Context, c caller, sub *broker.Subscription, bindings bindingList) error {
	if len(bindings.list) == 0 {
		return invalid("bindings", "name at least one binding")
	}
	return a.rebind(ctx, c, sub, bindings, sub.Bind)
}

func (a *API) replace(ctx context.Context, c caller, sub *broker.Subscription, bindings bindingList) error {
	return a.rebind(ctx, c, sub, bindings, sub.Replace)
}

func (a *API) rebind(ctx context.Context, c caller, sub *broker.Subscription, bindings bindingList,
	do func(context.Context, []broker.Binding) error,
) error {
	if err := a.mayBind(c, bindings.list); err != nil {
		return bindings.locate(err)
	}
	// Meanwhile no guest reads a message it may not, and none is expelled for a
	// change that fails, unless messages may have come by what was undone.
	defer a.guests.begin(a, sub, bindings.list).end()
	ctx, cancel := a.brokerContext(ctx)
	defer cancel()
	return bindings.locate(do(ctx, bindings.list))
}

// unbind removes bindings by content, for WebSocket. One that is not there is an
// error, and then nothing is changed.
func (a *API) unbind(ctx context.Context, sub *broker.Subscription, bindings bindingList) error {
	if len(bindings.list) == 0 {
		return invalid("bindings", "name at least one binding")
	}
	now := sub.Bindings()
	for i, b := range bindings.list {
		if !slices.ContainsFunc(now, func(have broker.Binding) bool { return have.ID() == b.ID() }) {
			err := broker.Errorf(broker.CodeBindingNotFound, "the subscription has no such binding")
			return bindings.locate(err.WithBinding(i))
		}
	}
	ctx, cancel := a.brokerContext(ctx)
	defer cancel()
	return bindings.locate(sub.Unbind(ctx, bindings.list))
}
