package suite

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpSource publishes to RabbitMQ, with confirms.
type amqpSource struct {
	conn *amqp.Connection
	mu   sync.Mutex // keeps the messages of one call together
	out  *amqp.Channel
}

func dialAMQP(url string) (*amqpSource, error) {
	conn, err := amqp.DialConfig(url, amqp.Config{
		Dial: amqp.DefaultDial(10 * time.Second), Properties: amqp.Table{"connection_name": "warren conformance suite"},
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to RabbitMQ: %w", err)
	}
	s := &amqpSource{conn: conn}
	if s.out, err = conn.Channel(); err == nil {
		err = s.out.Confirm(false)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("opening a channel: %w", err)
	}
	return s, nil
}

// once does something on a channel of its own: a refusal closes it.
func (s *amqpSource) once(f func(*amqp.Channel) error) error {
	ch, err := s.conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close() //nolint:errcheck // a refusal has closed it
	return f(ch)
}

func (s *amqpSource) Declare(t *T, name, kind string) error {
	t.Cleanup(func() { _ = s.Delete(t, name) }) // gone already where the check deleted it
	return s.once(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(name, kind, false, false, false, false, nil)
	})
}

func (s *amqpSource) Delete(_ *T, name string) error {
	return s.once(func(ch *amqp.Channel) error { return ch.ExchangeDelete(name, false, false) })
}

func (s *amqpSource) Publish(t *T, exchange, key string, messages ...Message) error {
	confirms := make([]*amqp.DeferredConfirmation, 0, len(messages))
	s.mu.Lock()
	for _, m := range messages {
		c, err := s.out.PublishWithDeferredConfirmWithContext(t.ctx, exchange, key, false, false, m.publishing())
		if err != nil {
			s.mu.Unlock()
			return fmt.Errorf("publishing to %s: %w", exchange, err)
		}
		confirms = append(confirms, c)
	}
	s.mu.Unlock()
	for _, c := range confirms {
		if ok, err := c.WaitContext(t.ctx); err != nil || !ok {
			return fmt.Errorf("publishing to %s was not confirmed: %w", exchange, err)
		}
	}
	return nil
}

// Routed publishes as mandatory: what goes nowhere comes back before it is confirmed.
func (s *amqpSource) Routed(t *T, exchange, key string) (routed bool, err error) {
	err = s.once(func(ch *amqp.Channel) error {
		back := ch.NotifyReturn(make(chan amqp.Return, 1))
		if err := ch.Confirm(false); err != nil {
			return err
		}
		c, err := ch.PublishWithDeferredConfirmWithContext(t.ctx, exchange, key, true, false, amqp.Publishing{})
		if err != nil {
			return err
		}
		if _, err := c.WaitContext(t.ctx); err != nil {
			return err
		}
		routed = len(back) == 0
		return nil
	})
	return routed, err
}

func (s *amqpSource) Close() { _ = s.conn.Close() } // the run is over

// publishing makes AMQP of the names of the HTTP API.
func (m Message) publishing() amqp.Publishing {
	p := amqp.Publishing{Body: m.Body}
	for name, field := range map[string]*string{
		"content_type": &p.ContentType, "content_encoding": &p.ContentEncoding, "correlation_id": &p.CorrelationId,
		"reply_to": &p.ReplyTo, "expiration": &p.Expiration, "message_id": &p.MessageId, "type": &p.Type, "app_id": &p.AppId,
	} {
		*field = str(m.Properties, name)
	}
	if n, ok := m.Properties["delivery_mode"].(int); ok {
		p.DeliveryMode = uint8(n)
	}
	if n, ok := m.Properties["priority"].(int); ok {
		p.Priority = uint8(n)
	}
	if n, ok := m.Properties["timestamp"].(int); ok {
		p.Timestamp = time.Unix(int64(n), 0)
	}
	if headers, ok := m.Properties["headers"].(object); ok {
		p.Headers, _ = fieldValue(headers).(amqp.Table)
	}
	if table, ok := m.Table.(amqp.Table); ok {
		p.Headers = table
	}
	return p
}

// fieldValue makes AMQP of JSON.
func fieldValue(v any) any {
	switch v := v.(type) {
	case object:
		table := amqp.Table{}
		for name, e := range v {
			table[name] = fieldValue(e)
		}
		return table
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = fieldValue(e)
		}
		return out
	case int:
		return int64(v)
	case json.Number:
		n, _ := strconv.ParseInt(string(v), 10, 64)
		return n
	}
	return v
}
