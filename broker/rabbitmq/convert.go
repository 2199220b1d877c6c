package rabbitmq

import (
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// convert makes the core's delivery of the library's.
func convert(d *amqp.Delivery, tag uint64) *broker.Delivery {
	return &broker.Delivery{
		Tag: tag,
		Message: broker.Message{
			Exchange:   d.Exchange,
			RoutingKey: d.RoutingKey,
			Body:       d.Body,
			Properties: broker.Properties{
				ContentType:     d.ContentType,
				ContentEncoding: d.ContentEncoding,
				Headers:         tableOf(d.Headers),
				DeliveryMode:    d.DeliveryMode,
				Priority:        d.Priority,
				CorrelationID:   d.CorrelationId,
				ReplyTo:         d.ReplyTo,
				Expiration:      d.Expiration,
				MessageID:       d.MessageId,
				// The library makes a time of the 64 bits on the wire, and of none the zero time.
				Timestamp:    unsignedSeconds(d.Timestamp),
				HasTimestamp: !d.Timestamp.IsZero(),
				Type:         d.Type,
				UserID:       d.UserId,
				AppID:        d.AppId,
			},
		},
	}
}

func unsignedSeconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.Unix()) // the same 64 bits as on the wire, which are unsigned there
}

// tableOf converts headers into the closed set of broker.Table; nil if there are none.
func tableOf(t amqp.Table) broker.Table {
	if len(t) == 0 {
		return nil
	}
	out := make(broker.Table, len(t))
	for name, v := range t {
		out[name] = valueOf(v)
	}
	return out
}

func valueOf(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float32, float64, string, []byte:
		return v
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case int:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return v
	case amqp.Decimal:
		return broker.Decimal{Scale: v.Scale, Value: v.Value}
	case time.Time:
		return broker.Timestamp(unsignedSeconds(v))
	case amqp.Table:
		out := make(broker.Table, len(v))
		for name, e := range v {
			out[name] = valueOf(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = valueOf(e)
		}
		return out
	default:
		return nil // amqp091-go reads no other type
	}
}

// arguments converts binding arguments for the library; nil if there are none.
func arguments(t broker.Table) amqp.Table {
	if len(t) == 0 {
		return nil
	}
	out := make(amqp.Table, len(t))
	for name, v := range t {
		out[name] = argument(v)
	}
	return out
}

func argument(v any) any {
	switch v := v.(type) {
	case uint64:
		// AMQP as RabbitMQ speaks it has no larger integer.
		if v <= math.MaxInt64 {
			return int64(v)
		}
		return float64(v)
	case broker.Decimal:
		return amqp.Decimal{Scale: v.Scale, Value: v.Value}
	case broker.Timestamp:
		return time.Unix(int64(v), 0) // the same 64 bits
	case broker.Table:
		out := make(amqp.Table, len(v))
		for name, e := range v {
			out[name] = argument(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = argument(e)
		}
		return out
	default:
		return v
	}
}
