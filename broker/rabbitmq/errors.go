package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
)

// errSourceClosed and errQueueClosed are causes.
var (
	errSourceClosed = errors.New("the source is closed")
	errQueueClosed  = errors.New("the queue is closed")
	errConnClosed   = errors.New("the connection was lost")
)

func unavailable(cause error) *broker.Error {
	return broker.Errorf(broker.CodeBrokerUnavailable, "the message broker cannot be reached at the moment").WithCause(cause)
}

// interrupted is what an operation answers whose context ended.
func interrupted(ctx context.Context) *broker.Error {
	return broker.Errorf(broker.CodeBrokerTimeout, "the message broker did not answer in time").WithCause(context.Cause(ctx))
}

// replyCode returns the broker's reply code in err's chain, 0 if it is not the broker's answer.
func replyCode(err error) int {
	var e *amqp.Error
	if errors.As(err, &e) && e.Server {
		return e.Code
	}
	return 0
}

// channelRefused reports whether the broker closed the channel, and not the connection, because of what was asked.
func channelRefused(err error) bool {
	switch replyCode(err) {
	case amqp.ContentTooLarge, amqp.NoRoute, amqp.NoConsumers, amqp.AccessRefused, amqp.NotFound, amqp.ResourceLocked, amqp.PreconditionFailed:
		return true
	}
	return false
}

// limitReached reports whether a limit at the broker refuses more: of a vhost's queues, a user's channels or connections.
// Their reply codes are used for much else, so the text decides; but not by a word, as it also has what clients chose: a binding's
// key or arguments that the exchange refuses.
func limitReached(err error) bool {
	var e *amqp.Error
	if !errors.As(err, &e) || !e.Server {
		return errors.Is(err, amqp.ErrChannelMax)
	}
	switch e.Code {
	case amqp.PreconditionFailed:
		return strings.HasPrefix(e.Reason, "PRECONDITION_FAILED - cannot declare queue ") && strings.Contains(e.Reason, "limit")
	case amqp.NotAllowed:
		return strings.Contains(e.Reason, "limit (") || strings.Contains(e.Reason, "limit of (") || strings.Contains(e.Reason, "channel_max (")
	case amqp.ResourceError:
		return true
	}
	return false
}

// overCapacity is the answer where the broker's own limits refuse.
func overCapacity(cause error) *broker.Error {
	e := broker.Errorf(broker.CodeOverCapacity, "the message broker accepts no further subscriptions at the moment").WithCause(cause)
	e.Limit = "broker"
	return e
}

// queueError maps what failed with the queue itself: declaring, consuming.
func queueError(err error) *broker.Error {
	switch {
	case limitReached(err):
		return overCapacity(err)
	case replyCode(err) == amqp.AccessRefused:
		// The account has lost its permissions: the operator's matter, not the caller's, who may come back when it is mended.
		return broker.Errorf(broker.CodeBrokerUnavailable, "the message broker does not let the gateway have a queue at the moment").
			WithCause(fmt.Errorf(`the account at the broker needs to configure, write and read ^warren\. (rabbitmqctl set_permissions): %w`, err))
	case channelRefused(err): // for a reason that is not the caller's either
		return broker.Errorf(broker.CodeInternal, "the message broker refused a queue to the gateway").WithCause(err)
	default:
		return unavailable(err)
	}
}

// queueRefused reports whether the broker said ACCESS_REFUSED of a queue, and so of the gateway's own, and not of an exchange.
func queueRefused(err error) bool {
	var e *amqp.Error
	if replyCode(err) != amqp.AccessRefused || !errors.As(err, &e) {
		return false
	}
	what, _, _ := strings.Cut(e.Reason, "'") // What follows is a name. RabbitMQ 4 says "write access".
	return strings.HasSuffix(what, "access to queue ")
}

// bindError maps what failed with the binding at an index.
func bindError(err error, index int) *broker.Error {
	switch replyCode(err) {
	case amqp.NotFound:
		return broker.Errorf(broker.CodeExchangeNotFound, "there is no such exchange: check its name; publishers declare exchanges, the gateway does not").WithBinding(index).WithCause(err)
	case amqp.AccessRefused:
		if queueRefused(err) {
			return queueError(err)
		}
		return broker.Errorf(broker.CodeForbiddenBinding, "the message broker does not let the gateway bind this: there is no such exchange, or its account may not read it").WithBinding(index).WithCause(err)
	case amqp.PreconditionFailed:
		// A headers exchange with an x-match of its own, an exchange type that wants a number as routing key.
		return broker.Errorf(broker.CodeInvalidRequest, "the exchange does not accept this routing key or these arguments").
			WithField("arguments").WithBinding(index).WithCause(err)
	default:
		return queueError(err)
	}
}
