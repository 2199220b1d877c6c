package publish

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/cmd/bench/load"
)

// RoutingKey is what all messages have.
const RoutingKey = "k"

type amqpSender struct {
	conn     *amqp.Connection
	ch       *amqp.Channel
	exchange string
	body     []byte
	stampAt  int
}

func newAMQP(job Job) (*amqpSender, error) {
	conn, err := amqp.Dial(job.Target.URL)
	if err != nil {
		return nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s := &amqpSender{conn: conn, ch: ch, exchange: job.Target.Exchange}
	s.body, s.stampAt = load.Body(job.Size)
	return s, nil
}

func (s *amqpSender) send(ctx context.Context, nanoseconds int64) error {
	load.Stamp(s.body, s.stampAt, nanoseconds)
	return s.ch.PublishWithContext(ctx, s.exchange, RoutingKey, false, false, amqp.Publishing{
		ContentType: "application/json",
		Body:        s.body,
	})
}

func (s *amqpSender) close() { _ = s.conn.Close() }
