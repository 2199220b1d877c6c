package api

import (
	"encoding/json"
	"errors"
	"strconv"

	"github.com/warren-gateway/warren/broker"
)

// bindingList is the bindings of one request, each once.
type bindingList struct {
	list []broker.Binding
	// index has for each binding its place in the request, which is what a
	// client is told when it is the one at fault.
	index []int
}

// add appends a binding unless an equal one is there.
func (l *bindingList) add(b broker.Binding, index int) {
	for _, have := range l.list {
		if have.ID() == b.ID() {
			return
		}
	}
	l.list = append(l.list, b)
	l.index = append(l.index, index)
}

// locate turns the index of a binding in an error of the core into the one in the request.
func (l *bindingList) locate(err error) error {
	var e *broker.Error
	if errors.As(err, &e) && e.Binding >= 0 && e.Binding < len(l.index) {
		return e.WithBinding(l.index[e.Binding])
	}
	return err
}

// parseBindings reads a JSON array of bindings, at most as many different ones
// as a subscription may have.
func (a *API) parseBindings(raw json.RawMessage) (bindingList, error) {
	return parseBindings(raw, a.opts.Broker.Limits().MaxBindings)
}

func parseBindings(raw json.RawMessage, most int) (bindingList, error) {
	elements, err := decodeArray("bindings", raw)
	if err != nil {
		return bindingList{}, err
	}
	var out bindingList
	for i, element := range elements {
		b, err := parseBinding(element)
		if err != nil {
			return bindingList{}, broker.AsError(err).WithBinding(i)
		}
		if out.add(b, i); len(out.list) > most {
			return bindingList{}, tooManyBindings(most)
		}
	}
	return out, nil
}

func tooManyBindings(most int) error {
	return invalid("bindings", "a subscription has at most "+strconv.Itoa(most)+" bindings")
}

func parseBinding(raw json.RawMessage) (broker.Binding, error) {
	members, err := parseObject(raw, "exchange", "routing_key", "arguments")
	if err != nil {
		return broker.Binding{}, err
	}
	exchange, err := members.string("exchange")
	if err != nil {
		return broker.Binding{}, err
	}
	key, err := members.string("routing_key")
	if err != nil {
		return broker.Binding{}, err
	}
	var arguments broker.Table
	if members.has("arguments") {
		if arguments, err = decodeTable("arguments", members["arguments"]); err != nil {
			return broker.Binding{}, err
		}
	}
	return broker.NewBinding(exchange, key, arguments)
}
