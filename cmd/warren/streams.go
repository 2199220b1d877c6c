package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"
)

// maxFrame is the longest frame that is read: a message of the largest bound
// that makes sense, as base64, and its properties.
const maxFrame = 64 << 20

// webSocket reads one WebSocket until it ends.
func (l *listener) webSocket(ctx context.Context, take func([]byte) error) error {
	conn, resp, err := websocket.Dial(ctx, //nolint:bodyclose // the library closes it; problemOf reads what it kept
		l.target("/v1/ws"), &websocket.DialOptions{
			HTTPHeader: l.header(), Subprotocols: []string{"warren.v1"},
		})
	if err != nil {
		if resp != nil && resp.StatusCode >= 400 {
			return problemOf(resp)
		}
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxFrame)
	if l.opts.token == "" {
		// A gateway that wants a token would wait 5 s for one; anything else than a token it refuses at once.
		if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"ping"}`)); err != nil {
			return err
		}
	}
	for {
		kind, frame, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageText {
			return errors.New("a binary message, which no gateway sends")
		}
		if err := take(frame); err != nil {
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return err
		}
	}
}

// eventSource reads one event stream until it ends. The client of r3labs retries
// by rules of its own, takes a truncated event at the end of the stream for a
// whole one and does not stop when told to: all three are handled here.
func (l *listener) eventSource(ctx context.Context, take func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := sse.NewClient(l.target("/v1/sse"), sse.ClientMaxBufferSize(maxFrame))
	client.ReconnectStrategy = &backoff.StopBackOff{}
	for name := range l.header() {
		client.Headers[name] = l.header().Get(name)
	}
	client.ResponseValidator = func(_ *sse.Client, resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		defer func() { _ = resp.Body.Close() }()
		return problemOf(resp)
	}
	var ended error
	err := client.SubscribeRawWithContext(ctx, func(event *sse.Event) {
		if ended != nil || len(event.Data) == 0 || !json.Valid(event.Data) {
			return // over, the retry line, or cut in the middle of an event
		}
		if ended = take(event.Data); ended != nil {
			cancel()
		}
	})
	if ended != nil {
		return ended
	}
	return err
}

// problemOf turns an answer that is no stream into an error: of the gateway's problem
// document, or of what a proxy in front of it says. It is a refusal for good but for what can pass.
func problemOf(resp *http.Response) error {
	text := "the answer was " + resp.Status
	var problem struct{ Code, Title, Detail string }
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && json.Unmarshal(body, &problem) == nil && problem.Code != "" {
		text = problem.Code + ": " + problem.Detail
	}
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 {
		return &refusal{text}
	}
	seconds, _ := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31) // it may also be a date, which is left to the backoff
	return &postponement{text, time.Duration(seconds) * time.Second}
}
