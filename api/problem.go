package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// problemType precedes a code in the member "type" of a problem document.
const problemType = "urn:warren:problem:"

// defaultRetry is when to come back if the gateway cannot be used and nobody
// knows for how long.
const defaultRetry = 5 * time.Second

// kinds has the status and title of every code: the error table of the contract.
var kinds = map[broker.Code]struct {
	status int
	title  string
}{
	broker.CodeInvalidRequest:       {http.StatusBadRequest, "The request is not valid"},
	broker.CodeInvalidPosition:      {http.StatusBadRequest, "The position is not valid"},
	broker.CodeUnauthorized:         {http.StatusUnauthorized, "A valid token is needed"},
	broker.CodeForbidden:            {http.StatusForbidden, "Not allowed for this caller"},
	broker.CodeForbiddenBinding:     {http.StatusForbidden, "The binding is not allowed"},
	broker.CodeForbiddenOrigin:      {http.StatusForbidden, "The origin is not allowed"},
	broker.CodeNotFound:             {http.StatusNotFound, "There is nothing here"},
	broker.CodeSubscriptionNotFound: {http.StatusNotFound, "There is no such subscription"},
	broker.CodeBindingNotFound:      {http.StatusNotFound, "There is no such binding"},
	broker.CodeExchangeNotFound:     {http.StatusNotFound, "There is no such exchange"},
	broker.CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "The method is not allowed"},
	broker.CodeBodyTooLarge:         {http.StatusRequestEntityTooLarge, "The body is too large"},
	broker.CodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "The body must be JSON"},
	broker.CodeWrongHost:            {http.StatusMisdirectedRequest, "The gateway does not serve this host"},
	broker.CodeUpgradeRequired:      {http.StatusUpgradeRequired, "This is a WebSocket endpoint"},
	broker.CodeSharedSubscription:   {http.StatusConflict, "A shared subscription cannot be changed"},
	broker.CodeRateLimited:          {http.StatusTooManyRequests, "Too many requests"},
	broker.CodeLimitReached:         {http.StatusTooManyRequests, "A limit is reached"},
	broker.CodeOverCapacity:         {http.StatusServiceUnavailable, "The gateway takes no more work now"},
	broker.CodeBrokerUnavailable:    {http.StatusServiceUnavailable, "The broker cannot be used now"},
	broker.CodeShuttingDown:         {http.StatusServiceUnavailable, "The gateway is shutting down"},
	broker.CodeBrokerTimeout:        {http.StatusGatewayTimeout, "The broker did not answer in time"},
	broker.CodeInternal:             {http.StatusInternalServerError, "The gateway failed"},
}

// problemDocument is a problem as RFC 9457 has it, with the contract's members.
type problemDocument struct {
	Type       string      `json:"type"`
	Title      string      `json:"title"`
	Status     int         `json:"status"`
	Detail     string      `json:"detail"`
	Code       broker.Code `json:"code"`
	Binding    *int        `json:"binding,omitempty"`
	Field      string      `json:"field,omitempty"`
	Limit      string      `json:"limit,omitempty"`
	RetryAfter int         `json:"retry_after_seconds,omitempty"`
}

// Problem encodes an error for a client's eyes. It is what REST answers and what
// a WebSocket's error frame carries.
func Problem(err *broker.Error) []byte {
	kind, known := kinds[err.Code]
	if !known {
		err, kind = broker.AsError(errors.New("unknown code")), kinds[broker.CodeInternal]
	}
	doc := problemDocument{
		Type: problemType + string(err.Code), Title: kind.title, Status: kind.status,
		Detail: err.Detail, Code: err.Code, Field: err.Field, Limit: err.Limit,
		RetryAfter: wholeSeconds(err.RetryAfter),
	}
	if err.Binding >= 0 {
		doc.Binding = &err.Binding
	}
	return encodeJSON(doc)
}

// Status returns the HTTP status of a code, 500 for one that is none.
func Status(code broker.Code) int {
	if kind, known := kinds[code]; known {
		return kind.status
	}
	return http.StatusInternalServerError
}

// classify turns whatever a handler returned into the one error that is
// answered: always with a detail, and with a time to come back where the
// contract promises one.
func classify(err error) *broker.Error {
	e := *broker.AsError(err)
	if errors.Is(err, context.DeadlineExceeded) && e.Code == broker.CodeInternal {
		e.Code, e.Detail = broker.CodeBrokerTimeout, "the broker did not answer in time"
	}
	if e.Detail == "" {
		e.Detail = kinds[e.Code].title
	}
	switch {
	case e.RetryAfter > 0 || e.Code == broker.CodeRateLimited:
		// A bucket may say 20 ms, but to each of a thousand streams alike: a
		// second is what Retry-After can say, and what spreads them.
		e.RetryAfter = max(e.RetryAfter, time.Second)
	case canPass(e.Code) && Status(e.Code) >= http.StatusServiceUnavailable:
		e.RetryAfter = defaultRetry
	}
	return &e
}

// canPass reports whether a refusal of this code may go away by itself, so that
// an EventSource should come back: EventSource gives up for good on any status but 200.
func canPass(code broker.Code) bool {
	status := Status(code)
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// wholeSeconds rounds up, so that who waits that long is not refused again.
func wholeSeconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}

// encodeJSON encodes a value that is known to be encodable, without escaping
// for HTML and without the final newline.
func encodeJSON(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("api: a value of its own is not JSON: " + err.Error())
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	writeLine(w, encodeJSON(v))
	return nil
}

// writeLine ends an answer with a newline, so that a terminal's prompt does not stand behind it.
func writeLine(w http.ResponseWriter, text []byte) {
	_, _ = w.Write(append(text, '\n')) // a client that is gone is no error of ours
}

// invalid starts an error of CodeInvalidRequest about a field.
func invalid(field, detail string) *broker.Error {
	return broker.Errorf(broker.CodeInvalidRequest, detail).WithField(field)
}
