package suite

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"
)

// Source is where the suite publishes: the exchanges behind the gateway.
type Source interface {
	// Declare makes an exchange, which is deleted with the check where that is possible.
	Declare(t *T, name, kind string) error
	// Delete deletes an exchange.
	Delete(t *T, name string) error
	// Publish publishes messages in order and returns when the broker has them.
	Publish(t *T, exchange, key string, messages ...Message) error
	// Routed publishes an empty message and tells whether it went to any queue.
	Routed(t *T, exchange, key string) (bool, error)
	// Close ends the connections.
	Close()
}

// Message is what is published.
type Message struct {
	Body       []byte
	Properties object // under the names of RabbitMQ's HTTP API; headers are JSON
	Table      any    // amqp.Table: headers that JSON has no words for; AMQP only
}

// publishable is how many bytes of body a request to publish can hold, whatever their encoding.
const publishable = 46 << 10

func openSource(amqpURL string) (Source, error) {
	if amqpURL == "" {
		return restSource{}, nil
	}
	return dialAMQP(amqpURL)
}

// restSource publishes through the gateway itself, which has exchanges of its own with memory://.
type restSource struct{}

func (restSource) Declare(t *T, name, kind string) error {
	r := t.Do(Call{Method: http.MethodPut, Path: exchangePath(name), Body: object{"type": kind}})
	if r.Status != http.StatusCreated {
		return fmt.Errorf("declaring %s: %s", name, r)
	}
	return nil
}

func (restSource) Delete(*T, string) error {
	return fmt.Errorf("exchanges of memory:// cannot be deleted")
}

func (restSource) Publish(t *T, exchange, key string, messages ...Message) error {
	for _, m := range messages {
		// Floods are of large messages, which take the contract longer than the gateway: on a slow machine longer than readers may be stuck.
		r := t.Do(Call{Method: http.MethodPost, Path: exchangePath(exchange) + "/publish", Body: m.publication(key), Plain: len(m.Body) > 32<<10})
		if r.Status != http.StatusOK {
			return fmt.Errorf("publishing to %s: %s", exchange, r)
		}
	}
	return nil
}

func (restSource) Routed(t *T, exchange, key string) (bool, error) {
	r := t.Post(exchangePath(exchange)+"/publish", Message{}.publication(key))
	routed, ok := r.Body["routed"].(bool)
	if !ok {
		return false, fmt.Errorf("publishing to %s: %s", exchange, r)
	}
	return routed, nil
}

func (restSource) Close() {}

// publication is the body of RabbitMQ's HTTP API.
func (m Message) publication(key string) object {
	p := object{"routing_key": key, "properties": object{}}
	if m.Properties != nil {
		p["properties"] = m.Properties
	}
	if utf8.Valid(m.Body) {
		p["payload"] = string(m.Body)
	} else {
		p["payload"], p["payload_encoding"] = base64.StdEncoding.EncodeToString(m.Body), "base64"
	}
	return p
}

func exchangePath(name string) string { return "/v1/exchanges/" + url.PathEscape(name) }

// Exchange declares an exchange of the check's own and returns its name.
func (t *T) Exchange(kind string) string {
	name := t.Name()
	t.Must(t.source.Declare(t, name, kind))
	return name
}

// Publish publishes texts, one message each, without properties.
func (t *T) Publish(exchange, key string, bodies ...string) {
	messages := make([]Message, len(bodies))
	for i, body := range bodies {
		messages[i].Body = []byte(body)
	}
	t.Must(t.source.Publish(t, exchange, key, messages...))
}

// PublishMessage publishes one message.
func (t *T) PublishMessage(exchange, key string, m Message) {
	t.Must(t.source.Publish(t, exchange, key, m))
}
