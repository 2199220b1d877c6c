package rabbitmq

import (
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

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
