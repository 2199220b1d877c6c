package broker

import (
	"errors"
	"time"
)

// Code names one kind of refusal or failure. It is what a client reads in the
// member "code" of a problem document; api maps it to an HTTP status, transport
// to a close code. The set is closed: a test holds it to the specification.
type Code string

// The codes of the wire contract.
const (
	CodeInvalidRequest       Code = "invalid_request"
	CodeInvalidPosition      Code = "invalid_position"
	CodeUnauthorized         Code = "unauthorized"
	CodeForbidden            Code = "forbidden"
	CodeForbiddenBinding     Code = "forbidden_binding"
	CodeForbiddenOrigin      Code = "forbidden_origin"
	CodeNotFound             Code = "not_found"
	CodeSubscriptionNotFound Code = "subscription_not_found"
	CodeBindingNotFound      Code = "binding_not_found"
	CodeExchangeNotFound     Code = "exchange_not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeBodyTooLarge         Code = "body_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeWrongHost            Code = "wrong_host"
	CodeUpgradeRequired      Code = "upgrade_required"
	CodeSharedSubscription   Code = "shared_subscription"
	CodeRateLimited          Code = "rate_limited"
	CodeLimitReached         Code = "limit_reached"
	CodeOverCapacity         Code = "over_capacity"
	CodeBrokerUnavailable    Code = "broker_unavailable"
	CodeShuttingDown         Code = "shutting_down"
	CodeBrokerTimeout        Code = "broker_timeout"
	CodeInternal             Code = "internal_error"
)

// Codes lists every code, in the order of the contract.
func Codes() []Code {
	return []Code{
		CodeInvalidRequest, CodeInvalidPosition, CodeUnauthorized, CodeForbidden, CodeForbiddenBinding,
		CodeForbiddenOrigin, CodeNotFound, CodeSubscriptionNotFound, CodeBindingNotFound, CodeExchangeNotFound,
		CodeMethodNotAllowed, CodeBodyTooLarge, CodeUnsupportedMediaType, CodeWrongHost, CodeUpgradeRequired,
		CodeSharedSubscription, CodeRateLimited, CodeLimitReached, CodeOverCapacity, CodeBrokerUnavailable,
		CodeShuttingDown, CodeBrokerTimeout, CodeInternal,
	}
}

// Error is a refusal or failure that a client may be told of. Everything but
// Err is meant for the client's eyes; Err is for the log alone.
type Error struct {
	// Code says what kind of error it is.
	Code Code
	// Detail is a sentence for the person at the other end. It never holds
	// AMQP texts, addresses or queue names.
	Detail string
	// Binding is the index of the binding in the request that the error is
	// about, or -1. Errorf sets -1.
	Binding int
	// Field is the request's member or parameter the error is about, or "".
	Field string
	// Limit names the bound that was reached, as its flag is spelled, or "".
	Limit string
	// RetryAfter is when to try again; zero when trying again is no use or no
	// time is known.
	RetryAfter time.Duration
	// Err is the cause, for the log; it may be nil.
	Err error
}

// Errorf returns an Error of the code with a detail for the client.
func Errorf(code Code, detail string) *Error {
	return &Error{Code: code, Detail: detail, Binding: -1}
}

// Error implements error; the text is for the log.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithField returns a copy of e about the named member or parameter.
func (e *Error) WithField(field string) *Error {
	c := *e
	c.Field = field
	return &c
}

// WithBinding returns a copy of e about the binding at index i.
func (e *Error) WithBinding(i int) *Error {
	c := *e
	c.Binding = i
	return &c
}

// WithCause returns a copy of e with its cause, for the log.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// AsError returns the Error in err's chain, or one of CodeInternal that wraps
// err. It returns nil for a nil err.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Detail: "the gateway failed to answer; the log of the gateway says why", Binding: -1, Err: err}
}

// CodeOf returns the code of err, CodeInternal for an error without one, and
// "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}
