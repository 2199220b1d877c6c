package transport

import (
	"math/rand/v2"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// Reason says why a stream ended or was refused. It is the member reason of a
// bye frame and the reason text of a WebSocket close frame.
type Reason string

// The reasons of the wire contract.
const (
	ReasonShuttingDown         Reason = "shutting_down"
	ReasonFrameTooLarge        Reason = "frame_too_large"
	ReasonInternalError        Reason = "internal_error"
	ReasonProtocolError        Reason = "protocol_error"
	ReasonInvalidRequest       Reason = "invalid_request"
	ReasonInvalidPosition      Reason = "invalid_position"
	ReasonUnauthorized         Reason = "unauthorized"
	ReasonTokenExpired         Reason = "token_expired"
	ReasonForbiddenBinding     Reason = "forbidden_binding"
	ReasonForbidden            Reason = "forbidden"
	ReasonSubscriptionNotFound Reason = "subscription_not_found"
	ReasonExchangeNotFound     Reason = "exchange_not_found"
	ReasonSlowReader           Reason = "slow_reader"
	ReasonSubscriptionDeleted  Reason = "subscription_deleted"
	ReasonSubscriptionExpired  Reason = "subscription_expired"
	ReasonLimitReached         Reason = "limit_reached"
	ReasonRateLimited          Reason = "rate_limited"
	ReasonOverCapacity         Reason = "over_capacity"
	ReasonBrokerUnavailable    Reason = "broker_unavailable"
	ReasonBrokerTimeout        Reason = "broker_timeout"
)

// ReasonClientGone is how logs and counters name a stream that its client
// ended: nobody was left to read a bye, so it is never on the wire.
const ReasonClientGone Reason = "client_gone"

// CloseRule is one row of the table of close codes.
type CloseRule struct {
	// Reason is what the stream ends with.
	Reason Reason
	// Code is the WebSocket close code; SSE has it in the bye frame alone.
	Code int
	// Reconnect says whether coming back to the same place makes sense.
	Reconnect bool
}

// closeRules is the one table of close codes, in the order of the contract.
var closeRules = [...]CloseRule{
	{ReasonShuttingDown, 1001, true},
	{ReasonFrameTooLarge, 1009, false},
	{ReasonInternalError, 1011, true},
	{ReasonProtocolError, 4400, false},
	{ReasonInvalidRequest, 4400, false},
	{ReasonInvalidPosition, 4400, false},
	{ReasonUnauthorized, 4401, false},
	{ReasonTokenExpired, 4401, false},
	{ReasonForbiddenBinding, 4403, false},
	{ReasonForbidden, 4403, false},
	{ReasonSubscriptionNotFound, 4404, false},
	{ReasonExchangeNotFound, 4404, false},
	{ReasonSlowReader, 4408, true},
	{ReasonSubscriptionDeleted, 4410, false},
	{ReasonSubscriptionExpired, 4410, false},
	{ReasonLimitReached, 4429, true},
	{ReasonRateLimited, 4429, true},
	{ReasonOverCapacity, 4503, true},
	{ReasonBrokerUnavailable, 4503, true},
	{ReasonBrokerTimeout, 4503, true},
}

// codeAbnormal stands for a stream whose client went away without a word (RFC
// 6455, section 7.1.5); it is never sent.
const codeAbnormal = 1006

// CloseRules returns the table of close codes, in the order of the contract.
func CloseRules() []CloseRule {
	return append([]CloseRule(nil), closeRules[:]...)
}

// RuleOf returns the row of a reason. A reason that is not in the table, which
// only a fault of ours can bring about, gets that of internal_error.
func RuleOf(reason Reason) CloseRule {
	for _, rule := range closeRules {
		if rule.Reason == reason {
			return rule
		}
	}
	return RuleOf(ReasonInternalError)
}

// CloseCode returns the code with which a stream ended for the reason: 1006 where
// nobody was left to get one.
func CloseCode(reason Reason) int {
	if reason == ReasonClientGone {
		return codeAbnormal
	}
	return RuleOf(reason).Code
}

// ReasonOf returns the reason with which a stream is refused that failed with
// the code.
func ReasonOf(code broker.Code) Reason {
	switch code {
	case broker.CodeInvalidPosition:
		return ReasonInvalidPosition
	case broker.CodeUnauthorized:
		return ReasonUnauthorized
	case broker.CodeForbiddenBinding:
		return ReasonForbiddenBinding
	case broker.CodeForbidden, broker.CodeForbiddenOrigin:
		return ReasonForbidden
	case broker.CodeNotFound, broker.CodeSubscriptionNotFound, broker.CodeBindingNotFound:
		return ReasonSubscriptionNotFound
	case broker.CodeExchangeNotFound:
		return ReasonExchangeNotFound
	case broker.CodeRateLimited:
		return ReasonRateLimited
	case broker.CodeLimitReached:
		return ReasonLimitReached
	case broker.CodeOverCapacity:
		return ReasonOverCapacity
	case broker.CodeBrokerUnavailable:
		return ReasonBrokerUnavailable
	case broker.CodeBrokerTimeout:
		return ReasonBrokerTimeout
	case broker.CodeShuttingDown:
		return ReasonShuttingDown
	case broker.CodeInvalidRequest, broker.CodeMethodNotAllowed, broker.CodeBodyTooLarge,
		broker.CodeUnsupportedMediaType, broker.CodeWrongHost, broker.CodeUpgradeRequired,
		broker.CodeSharedSubscription:
		return ReasonInvalidRequest
	case broker.CodeInternal:
	}
	return ReasonInternalError
}

// Bounds of the time after which a client comes back, in milliseconds. They are
// jittered so that clients that were ended together do not come back together.
const (
	retryMin = 1000
	retryMax = 3000

	drainRetryMin = 500
	drainRetryMax = 5000
)

// retryMS returns the usual time to come back after.
func retryMS() int { return retryMin + rand.IntN(retryMax-retryMin+1) } //nolint:gosec // jitter, no secret

// retryAfter returns the time to come back after a refusal that names one: that
// time and up to a fifth more.
func retryAfter(d time.Duration) int {
	if d <= 0 {
		return retryMS()
	}
	ms := int(d / time.Millisecond)
	return ms + rand.IntN(ms/5+1) //nolint:gosec // jitter, no secret
}

// drainRetryMS spreads the return of all open streams over as long as it takes
// to make their subscriptions again.
func drainRetryMS(open int, createRate float64) int {
	most := drainRetryMax
	if createRate > 0 {
		most = max(most, int(float64(open)/createRate*1000))
	}
	return drainRetryMin + rand.IntN(most-drainRetryMin+1) //nolint:gosec // jitter, no secret
}

// bye returns the last frame of a stream that ends for the reason.
func bye(reason Reason, retry int) broker.Frame {
	rule := RuleOf(reason)
	return broker.ByeFrame(broker.Bye{
		Code: rule.Code, Reason: string(rule.Reason), Reconnect: rule.Reconnect, RetryMS: retry,
	})
}
