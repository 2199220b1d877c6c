package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/warren-gateway/warren/broker"
)

// exchangeDocument is one exchange in the list.
type exchangeDocument struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
}

// listExchanges lists what the caller may bind, as far as the source knows it.
func (a *API) listExchanges(w http.ResponseWriter, r *http.Request, c caller) error {
	ctx, cancel := a.brokerContext(r.Context())
	defer cancel()
	source := a.opts.Broker.Source()
	known, err := source.Exchanges(ctx)
	if err != nil {
		return err
	}
	list := []exchangeDocument{}
	for _, x := range known {
		if a.opts.Policy.Allows(x.Name) && (c.Anonymous || c.Grants.Touch(x.Name, source.ExchangeType)) {
			list = append(list, exchangeDocument{Name: x.Name, Type: x.Type})
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"exchanges": list})
}

// declareExchange makes an exchange of the memory source: 201 if it is new, 204
// if it is there with this type, as RabbitMQ's HTTP API answers.
func (a *API) declareExchange(w http.ResponseWriter, r *http.Request, _ caller) error {
	body, err := readObject(w, r, "type", "durable", "auto_delete", "internal", "arguments")
	if err != nil {
		return err
	}
	typ, err := body.string("type")
	if err != nil {
		return err
	}
	if err := onlyPlain(body); err != nil {
		return err
	}
	name := parameter(r, "name")
	if strings.HasPrefix(name, "warren.") {
		return invalid("name", "names that begin with warren. are the gateway's own")
	}
	_, exists := a.opts.Publisher.ExchangeType(name)
	if err := a.opts.Publisher.Declare(name, typ); err != nil {
		var e *broker.Error
		if errors.As(err, &e) && e.Code == broker.CodeForbidden {
			return invalid("name", e.Detail).WithCause(err)
		}
		return err
	}
	status := http.StatusCreated
	if exists {
		status = http.StatusNoContent
	}
	w.WriteHeader(status)
	return nil
}

// onlyPlain takes RabbitMQ's other members where they ask for nothing special,
// so that a body written for its HTTP API works here.
func onlyPlain(body object) error {
	if _, err := body.boolOr("durable", true); err != nil {
		return err
	}
	for _, name := range []string{"auto_delete", "internal"} {
		switch set, err := body.boolOr(name, false); {
		case err != nil:
			return err
		case set:
			return invalid(name, "exchanges in memory know only false here")
		}
	}
	if body.has("arguments") {
		table, err := decodeTable("arguments", body["arguments"])
		if err != nil {
			return err
		}
		if len(table) > 0 {
			return invalid("arguments", "exchanges in memory know no arguments")
		}
	}
	return nil
}

// publish publishes to an exchange of the memory source, with the body of RabbitMQ's HTTP API.
func (a *API) publish(w http.ResponseWriter, r *http.Request, _ caller) error {
	body, err := readObject(w, r, "routing_key", "payload", "payload_encoding", "properties")
	if err != nil {
		return err
	}
	key, err := body.string("routing_key")
	if err != nil {
		return err
	}
	payload, err := publishedPayload(body)
	if err != nil {
		return err
	}
	var properties broker.Properties
	if body.has("properties") {
		if properties, err = parseProperties(body["properties"]); err != nil {
			return err
		}
	}
	routed, err := a.opts.Publisher.Publish(parameter(r, "name"), key, properties, payload)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]bool{"routed": routed})
}

func publishedPayload(body object) ([]byte, error) {
	text, err := body.string("payload")
	if err != nil {
		return nil, err
	}
	encoding, err := body.stringOr("payload_encoding", "string")
	if err != nil {
		return nil, err
	}
	switch encoding {
	case "string":
		return []byte(text), nil
	case "base64":
		payload, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, invalid("payload", "this is not base64")
		}
		return payload, nil
	}
	return nil, invalid("payload_encoding", "this is one of string and base64")
}

// parseProperties reads message properties under the names of RabbitMQ's HTTP API.
func parseProperties(raw json.RawMessage) (broker.Properties, error) {
	var p broker.Properties
	texts := map[string]*string{
		"content_type": &p.ContentType, "content_encoding": &p.ContentEncoding, "correlation_id": &p.CorrelationID,
		"reply_to": &p.ReplyTo, "expiration": &p.Expiration, "message_id": &p.MessageID,
		"type": &p.Type, "user_id": &p.UserID, "app_id": &p.AppID,
	}
	known := slices.AppendSeq([]string{"headers", "delivery_mode", "priority", "timestamp"}, maps.Keys(texts))
	members, err := parseObject(raw, known...)
	if err != nil {
		return p, inProperties(err)
	}
	for name, value := range texts {
		if *value, err = members.stringOr(name, ""); err == nil && len(*value) > broker.MaxShortString {
			err = invalid(name, "the property is longer than 255 bytes")
		}
		if err != nil {
			return p, inProperties(err)
		}
	}
	if members.has("headers") {
		if p.Headers, err = decodeTable("headers", members["headers"]); err != nil {
			return p, inProperties(err)
		}
	}
	return p, inProperties(numericProperties(members, &p))
}

func numericProperties(members object, p *broker.Properties) error {
	if members.has("delivery_mode") {
		mode, err := members.int("delivery_mode", 1, 2)
		if err != nil {
			return err
		}
		p.DeliveryMode = uint8(mode)
	}
	if members.has("priority") {
		priority, err := members.int("priority", 0, math.MaxUint8)
		if err != nil {
			return err
		}
		p.Priority = uint8(priority)
	}
	if members.has("timestamp") {
		at, err := members.int("timestamp", 0, math.MaxInt64)
		if err != nil {
			return err
		}
		p.Timestamp, p.HasTimestamp = uint64(at), true
	}
	return nil
}

// inProperties says where in the body the field of an error is.
func inProperties(err error) error {
	if err == nil {
		return nil
	}
	e := broker.AsError(err)
	if e.Field == "" {
		return e.WithField("properties")
	}
	return e.WithField("properties." + e.Field)
}
