package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// endpoint is how an endpoint talks, which decides how it refuses.
type endpoint uint8

const (
	endpointREST endpoint = iota
	endpointSSE
	endpointWS
)

// answerTimeout bounds how long a client may take to read an answer that is no stream.
const answerTimeout = 30 * time.Second

// refuse answers an error: the one place where status, headers, body and log
// line of a refusal are decided.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, kind endpoint, cause error) {
	if errors.Is(cause, context.Canceled) && r.Context().Err() != nil {
		// The client is gone, or has only closed its side: then net/http would
		// answer with 200, and nothing in it.
		panic(http.ErrAbortHandler)
	}
	err := classify(cause)
	a.refused(r.Context(), r, err)
	limitAnswer(w) // anew: what was asked for may have taken a while
	switch {
	case kind == endpointWS && transport.CheckUpgrade(r) == nil:
		a.opts.Streams.RefuseWS(w, r, err) //nolint:contextcheck // the goodbye outlives the request
		return
	case kind == endpointSSE && r.Method == http.MethodGet && canPass(err.Code) && acceptsEvents(r):
		a.opts.Streams.RefuseSSE(w, r, err)
		return
	}
	h := w.Header()
	var refused *identity.Error
	switch {
	case err.Code == broker.CodeUnauthorized && errors.As(err, &refused):
		h.Set("WWW-Authenticate", refused.Challenge())
	case err.Code == broker.CodeUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="warren"`)
	case err.Code == broker.CodeUpgradeRequired && r.ProtoMajor == 1: // HTTP/2 has no such headers (RFC 9113, 8.2.2)
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		h.Set("Sec-WebSocket-Version", "13")
	}
	if err.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(wholeSeconds(err.RetryAfter)))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", apiPolicy)
	h.Del("ETag")
	w.WriteHeader(Status(err.Code))
	writeLine(w, Problem(err))
}

// refused logs and counts a refusal; r is nil for what came in over a WebSocket.
func (a *API) refused(ctx context.Context, r *http.Request, err *broker.Error) {
	a.refusals.log(ctx, r, err)
	if a.opts.OnRefusal != nil {
		a.opts.OnRefusal(err.Code)
	}
}

// limitAnswer makes a client that does not read its answer lose the connection
// (HTTP/2: the stream). It is no setting of the server, because streams write for days.
func limitAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)) // best effort
}

// unlimitAnswer takes the bound off: a stream is bounded by what its client takes.
func unlimitAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // best effort, as above
}

func acceptsEvents(r *http.Request) bool {
	for _, value := range r.Header.Values("Accept") {
		if strings.Contains(strings.ToLower(value), "text/event-stream") {
			return true
		}
	}
	return false
}

// recovered answers a panic of a handler, and tells the log where it was.
func (a *API) recovered(w http.ResponseWriter, r *http.Request, kind endpoint) {
	panicked := recover()
	if panicked == nil {
		return
	}
	if panicked == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
		panic(panicked)
	}
	a.opts.Logger.LogAttrs(r.Context(), slog.LevelError, "handler panicked",
		slog.String("route", routePattern(r)), slog.Any("panic", panicked), slog.String("stack", string(debug.Stack())))
	a.refuse(w, r, kind, broker.AsError(errors.New("handler panicked")))
}

// routePattern names the route for logs: unlike the path it holds no subscription id.
func routePattern(r *http.Request) string {
	if rc := chi.RouteContext(r.Context()); rc != nil {
		return rc.RoutePattern()
	}
	return ""
}

// refusalLog tells of refusals, by few lines for each code.
type refusalLog struct {
	logger *slog.Logger
	codes  broker.Seldom[broker.Code]
}

// log tells of a refusal; r is nil when a WebSocket is refused after its
// handshake. Nothing in it is a secret: no token, no subscription id, no query.
func (l *refusalLog) log(ctx context.Context, r *http.Request, err *broker.Error) {
	level := slog.LevelInfo
	switch {
	case err.Code == broker.CodeInternal:
		level = slog.LevelError
	case Status(err.Code) >= http.StatusInternalServerError:
		level = slog.LevelWarn
	}
	skipped, due := l.codes.Due(err.Code, time.Now())
	if !due {
		return
	}
	attrs := []slog.Attr{slog.String("code", string(err.Code)), slog.String("detail", err.Detail)}
	if r != nil {
		attrs = append(attrs, slog.String("method", r.Method), slog.String("route", routePattern(r)), slog.String("peer", r.RemoteAddr))
	}
	if err.Limit != "" {
		attrs = append(attrs, slog.String("limit", err.Limit))
	}
	if err.Err != nil {
		attrs = append(attrs, slog.Any("cause", err.Err))
	}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("not_logged", skipped))
	}
	l.logger.LogAttrs(ctx, level, "request refused", attrs...)
}
