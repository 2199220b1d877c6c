package transport

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/warren-gateway/warren/broker"
)

// Subprotocol is echoed to clients that offer it. It names the contract's
// frames and requests; without it they are the same.
const Subprotocol = "warren.v1"

// Handshake says how a WebSocket gets its attachment.
type Handshake struct {
	// NeedAuth says that the caller brought no token where one is needed: the
	// first message must be auth, within Options.AuthTimeout.
	NeedAuth bool
	// Open makes the attachment, on the stream's goroutine. token is nil, or
	// what the first message brought when NeedAuth is set. ctx ends with the
	// stream. Open must not keep the request: it would live as long as the
	// stream. After an error, which becomes a bye, nothing is left to release.
	Open func(ctx context.Context, token *string) (Opened, error)
	// Refused, if set, is called when the stream ended before Open was called,
	// with the reason of its end.
	Refused func(Reason)
}

// Opened is what Open makes; it belongs to the stream.
type Opened struct {
	Attachment *broker.Attachment
	Session    Session
	// Subscription is the resource for the ok of a first message auth; nil on
	// shared subscriptions.
	Subscription json.RawMessage
}

func (h Handshake) refused(reason Reason) {
	if h.Refused != nil {
		h.Refused(reason)
	}
}

// CheckUpgrade returns nil for a request that ServeWS and RefuseWS can answer:
// a WebSocket handshake over HTTP/1.1 (RFC 6455, section 4.2.1). Else the error
// is for a plain HTTP answer.
func CheckUpgrade(r *http.Request) *broker.Error {
	refuse := func(detail string) *broker.Error { return broker.Errorf(broker.CodeUpgradeRequired, detail) }
	keys := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return refuse("a WebSocket begins with a handshake over HTTP/1.1")
	case r.Method != http.MethodGet:
		return refuse("a WebSocket begins with a GET request")
	case !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket"):
		return refuse("this is a WebSocket endpoint: the request has to ask for an upgrade")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return refuse("only version 13 of the WebSocket protocol is spoken here")
	case len(keys) != 1 || !validKey(keys[0]):
		return broker.Errorf(broker.CodeInvalidRequest, "Sec-WebSocket-Key has to be 16 bytes in base64")
	}
	return nil
}

// ServeWS completes the handshake and returns. What happens then, Open first,
// happens on the stream's own goroutine. The request must have passed
// CheckUpgrade. Origin and host are the caller's to check.
func (s *Server) ServeWS(w http.ResponseWriter, r *http.Request, h Handshake) {
	conn, ws, err := accept(w, r)
	if err != nil {
		h.refused(ReasonClientGone)
		s.opts.Logger.Debug("WebSocket handshake failed", slog.Any("error", err))
		return
	}
	st := newStream(s, broker.WS)
	st.ws, ws.st = ws, st
	st.onto(conn)
	if !s.enter(st) {
		h.refused(ReasonShuttingDown)
		s.refuseWS(ws, st.out, errShuttingDown())
		return
	}
	go s.begin(st, h)
}

// RefuseWS completes the handshake, says bye and closes with the error's code,
// because browsers hide the status of a handshake that fails.
func (s *Server) RefuseWS(w http.ResponseWriter, r *http.Request, refusal *broker.Error) {
	conn, ws, err := accept(w, r)
	if err != nil {
		s.opts.Logger.Debug("WebSocket handshake failed", slog.Any("error", err))
		return
	}
	st := newStream(s, broker.WS)
	st.ws, ws.st = ws, st
	s.refuseWS(ws, newSocket(conn, s), refusal)
}

func (s *Server) refuseWS(ws *wsConn, out output, err *broker.Error) {
	reason, frame := s.refusal(err)
	s.refuse(out, func() { ws.goodbye(out, reason, frame, closeGrace) })
}

// begin opens a WebSocket, on a goroutine of its own, since that may take as
// long as the client or the broker likes.
func (s *Server) begin(st *stream, h Handshake) {
	pollable := s.poll.watch(st, st.ws.conn)
	end := st.guarded(func() ending { return st.open(h) })
	if end.reason != "" {
		st.over(end)
		return
	}
	st.ws.serveFrom(pollable)
	st.start()
}

// open gets the attachment, after the auth message where one is needed.
func (st *stream) open(h Handshake) ending {
	var auth request
	var token *string
	if h.NeedAuth {
		var end ending
		if auth, end = st.firstAuth(); end.reason != "" {
			if end.reason != ReasonClientGone {
				st.srv.refusals.add(end.reason)
			}
			h.refused(end.reason)
			return end
		}
		token = &auth.token
	}
	var opened Opened
	var err error
	st.operation(func(ctx context.Context) { opened, err = h.Open(ctx, token) })
	if err != nil {
		return st.openFailed(broker.AsError(err))
	}
	st.att, st.session = opened.Attachment, opened.Session
	if h.NeedAuth {
		st.ws.reply(broker.OKFrame(auth.ref, opened.Subscription))
	}
	return ending{}
}

func (st *stream) openFailed(err *broker.Error) ending {
	st.mu.Lock()
	dead := st.dead
	st.mu.Unlock()
	if dead && errors.Is(err, context.Canceled) {
		return ending{reason: ReasonClientGone, whole: true}
	}
	reason := ReasonOf(err.Code)
	if reason == ReasonInternalError {
		st.srv.opts.Logger.Error("WebSocket could not be opened", slog.Any("error", err))
	}
	st.srv.refusals.add(reason)
	return ending{reason: reason, whole: true, retry: err.RetryAfter}
}

// firstAuth waits for the first message, which must be auth.
func (st *stream) firstAuth() (request, ending) {
	ws := st.ws
	_ = ws.conn.SetReadDeadline(time.Now().Add(st.srv.opts.AuthTimeout))
	p, fault, err := ws.message()
	if err != nil && ws.readErr != nil && !isTimeout(ws.readErr) || websocket.CloseStatus(err) != -1 {
		return request{}, ending{reason: ReasonClientGone, whole: true}
	}
	unauthorized := ending{reason: ReasonUnauthorized, whole: true}
	if err != nil || fault != "" {
		return request{}, unauthorized
	}
	_ = ws.conn.SetReadDeadline(time.Time{})
	req, ok, problem := parseRequest(p)
	if !ok || problem != nil || req.kind != requestAuth {
		return request{}, unauthorized
	}
	return req, ending{}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// hasToken reports whether a comma separated header has the token.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
