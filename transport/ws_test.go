package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/transport"
)

func TestWebSocketIsExactOnTheWire(t *testing.T) {
	g := newGateway(t, setup{})
	s := g.socket("/ws")
	if text := s.text(); !strings.HasPrefix(text, `{"type":"ready","id":"`+g.sub.Stream()+`.0",`) {
		t.Errorf("ready is %s", text)
	}
	for _, size := range []int{0, 1, 30 << 10, 125, 126, 65535, 70000} {
		g.publish(strings.Repeat("x", size))
		if text := s.text(); !strings.Contains(text, `"payload":"`+strings.Repeat("x", size)+`"`) {
			t.Errorf("%d bytes arrived as %d", size, len(text))
		}
	}
	g.sub.End(broker.EndDeleted)
	s.bye(4410, "subscription_deleted")
	if end := g.ended(1); end.Reason != transport.ReasonSubscriptionDeleted || end.Messages != 7 {
		t.Errorf("ended with %+v", end)
	}
	<-g.sessions[0].closed
}

func TestFramesAreTheSameOnBothTransports(t *testing.T) {
	g := newGateway(t, setup{})
	g.publishNumbers(200)
	s := g.socket("/ws")
	_, r := g.get("/sse")
	r.skip()
	s.next("ready")
	for range 200 {
		text := s.text()
		if e := r.event(); !strings.HasSuffix(e, "\ndata: "+text+"\n\n") {
			t.Fatalf("%q and %q", text, e)
		}
	}
}

func TestClientThatClosesIsEchoed(t *testing.T) {
	g := newGateway(t, setup{})
	s := g.socket("/ws")
	s.next("ready")
	s.write(frame(0x88, "\x03\xe8done"))
	if first, payload, err := s.read(); err != nil || first != 0x88 || payload != "\x03\xe8done" {
		t.Errorf("got %x %q %v", first, payload, err)
	}
	if _, _, err := s.read(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	if end := g.ended(1); end.Reason != transport.ReasonClientGone {
		t.Errorf("ended with %+v", end)
	}
}

// TestCloseReasonThatIsNoTextIsNotEchoed: RFC 6455, section 5.5.1, has it as UTF-8.
func TestCloseReasonThatIsNoTextIsNotEchoed(t *testing.T) {
	g := newGateway(t, setup{})
	s := g.socket("/ws")
	s.next("ready")
	s.write(frame(0x88, "\x03\xe8\xff\xff"))
	s.bye(4400, "protocol_error")
	g.ended(1)
}

// TestRequestsBeforeTheEndAreAnswered sends what ends the stream right behind requests, in one segment.
func TestRequestsBeforeTheEndAreAnswered(t *testing.T) {
	requests := func(end []byte) (all []byte) {
		for range 5 {
			all = append(all, frame(0x81, `{"type":"ping"}`)...)
		}
		return append(all, end...)
	}
	for range 20 {
		g := newGateway(t, setup{})
		s := g.socket("/ws")
		s.next("ready")
		s.write(requests(frame(0x82, "{}")))
		for range 5 {
			s.next("pong")
		}
		s.bye(4400, "protocol_error")

		s = g.socket("/ws")
		s.next("ready")
		s.write(requests(frame(0x88, "\x03\xe8")))
		for range 5 {
			s.next("pong")
		}
		if first, payload, err := s.read(); err != nil || first != 0x88 || payload != "\x03\xe8" {
			t.Errorf("got %x %q %v", first, payload, err)
		}
	}
}

// TestNoAnswerComesBeforeReady has requests and the end come with the handshake.
func TestNoAnswerComesBeforeReady(t *testing.T) {
	for range 50 {
		g := newGateway(t, setup{})
		s := g.socket("/ws", append(frame(0x81, `{"type":"ping"}`), frame(0x88, "\x03\xe8")...))
		first, payload, err := s.read()
		if err != nil || first != 0x88 && !strings.HasPrefix(payload, `{"type":"ready"`) {
			t.Fatalf("first came %x %q %v", first, payload, err)
		}
	}
}

func TestPingIsAnsweredBetweenFrames(t *testing.T) {
	g := newGateway(t, setup{})
	s := g.socket("/ws", frame(0x89, "early"))
	pong := func(want string) {
		t.Helper()
		for {
			first, payload, err := s.read()
			if err != nil {
				t.Fatal(err)
			}
			if first == 0x8a {
				if payload != want {
					t.Errorf("pong %q", payload)
				}
				return
			}
		}
	}
	pong("early")
	long := strings.Repeat("p", 125)
	s.write(frame(0x89, long))
	pong(long)
	s.write(frame(0x89, ""))
	pong("")
}

func TestWhoBreaksTheProtocolIsToldAndClosed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		bytes  []byte
		code   int
		reason string
	}{
		{"binary", frame(0x82, "{}"), 4400, "protocol_error"},
		{"not JSON", frame(0x81, "{"), 4400, "protocol_error"},
		{"empty", frame(0x81, ""), 4400, "protocol_error"},
		{"two values", frame(0x81, `{"type":"ping"}{}`), 4400, "protocol_error"},
		{"not UTF-8", frame(0x81, "{\"type\":\"\xff\"}"), 4400, "protocol_error"},
		{"reserved bit", frame(0xC1, "{}"), 4400, "protocol_error"},
		{"unknown opcode", frame(0x83, "{}"), 4400, "protocol_error"},
		{"not masked", []byte{0x81, 2, '{', '}'}, 4400, "protocol_error"},
		{"fragmented ping", frame(0x09, ""), 4400, "protocol_error"},
		{"continuation of nothing", frame(0x80, "{}"), 4400, "protocol_error"},
		{"too large", frame(0x81, `"`+strings.Repeat("x", 16<<10)+`"`), 1009, "frame_too_large"},
		{"far too large", frame(0x81, strings.Repeat("x", 1<<20)), 1009, "frame_too_large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel() // where the library loses track, the client gets a second to close
			g := newGateway(t, setup{})
			s := g.socket("/ws")
			s.next("ready")
			s.write(tc.bytes)
			s.bye(tc.code, tc.reason)
			g.ended(1)
		})
	}
}

func TestRequestsAreAnswered(t *testing.T) {
	limited := broker.Errorf(broker.CodeRateLimited, "slow down")
	var refuse atomic.Bool
	g := newGateway(t, setup{session: session{
		allow: func() error {
			if refuse.Load() {
				return limited
			}
			return nil
		},
		auth: func(_ context.Context, token string) (json.RawMessage, error) {
			if token == "bad" {
				return nil, broker.Errorf(broker.CodeForbiddenBinding, "no")
			}
			return nil, nil
		},
	}})
	s := g.socket("/ws", frame(0x81, `{"type":"ping","ref":"first"}`))
	s.next("ready")
	if text := s.text(); text != `{"type":"pong","ref":"first"}` {
		t.Errorf("got %s", text)
	}
	for _, tc := range []struct{ request, answer string }{
		{`{"type":"ping"}`, `{"type":"pong"}`},
		{` { "type" : "ping" , "ref" : "a\"ü" } `, `{"type":"pong","ref":"a\"ü"}`},
		{`{"type":"bind","ref":"b","bindings":[1]}`, `{"type":"ok","ref":"b","subscription":{"bound":[1]}}`},
		{`{"type":"unbind","bindings":[2]}`, `{"type":"ok","subscription":{"unbound":[2]}}`},
		{`{"type":"auth","token":"t"}`, `{"type":"ok"}`},
		{`{"type":"auth","token":"bad"}`, `{"type":"error","problem":{"code":"forbidden_binding","field":""}}`},
		{`{"type":"ping","type":"pause"}`, `{"type":"error","problem":{"code":"invalid_request","field":"type"}}`},
		{`{"type":"auth"}`, `{"type":"error","problem":{"code":"invalid_request","field":"token"}}`},
		{`{"type":"auth","token":""}`, `{"type":"error","problem":{"code":"invalid_request","field":"token"}}`},
		{`{"type":"auth","token":1}`, `{"type":"error","problem":{"code":"invalid_request","field":"token"}}`},
		{`{"type":"bind","ref":"c"}`, `{"type":"error","ref":"c","problem":{"code":"invalid_request","field":"bindings"}}`},
		{`{"type":"ping","x":1,"a":2}`, `{"type":"error","problem":{"code":"invalid_request","field":"a"}}`},
		{`{"type":"ping","sub":"s"}`, `{"type":"error","problem":{"code":"invalid_request","field":"sub"}}`},
		{`{"type":"ping","ref":1}`, `{"type":"error","problem":{"code":"invalid_request","field":"ref"}}`},
		{`{"type":"ping","ref":""}`, `{"type":"error","problem":{"code":"invalid_request","field":"ref"}}`},
		{`{"type":"publish","ref":"d"}`, `{"type":"error","ref":"d","problem":{"code":"invalid_request","field":"type"}}`},
		{`{"type":null}`, `{"type":"error","problem":{"code":"invalid_request","field":"type"}}`},
		{`{}`, `{"type":"error","problem":{"code":"invalid_request","field":"type"}}`},
		{`[]`, `{"type":"error","problem":{"code":"invalid_request","field":""}}`},
		{`null`, `{"type":"error","problem":{"code":"invalid_request","field":""}}`},
	} {
		s.ask(tc.request)
		if text := s.text(); text != tc.answer {
			t.Errorf("%s is answered with %s", tc.request, text)
		}
	}
	refuse.Store(true)
	s.ask(`{"type":"ping","ref":"e"}`)
	if text := s.text(); text != `{"type":"error","ref":"e","problem":{"code":"rate_limited","field":""}}` {
		t.Errorf("got %s", text)
	}
	if n := g.server.Stats().Requests; n != 22 {
		t.Errorf("%d requests are counted", n)
	}
}

func TestPauseAndResumeOfOneStream(t *testing.T) {
	g := newGateway(t, setup{})
	s := g.socket("/ws")
	s.next("ready")
	s.ask(`{"type":"pause","ref":"p"}`)
	if a, b := s.text(), s.text(); a != `{"type":"paused","scope":"attachment"}` || b != `{"type":"ok","ref":"p","subscription":{"id":"r"}}` {
		t.Errorf("got %s and %s", a, b)
	}
	g.publish("1")
	s.ask(`{"type":"ping"}`)
	if text := s.text(); text != `{"type":"pong"}` {
		t.Errorf("got %s while paused", text)
	}
	s.ask(`{"type":"resume"}`)
	if text := s.text(); text != `{"type":"resumed","scope":"attachment"}` {
		t.Errorf("got %s", text)
	}
	s.next("message")
}

func TestRequestUnderWayHoldsUpNoFrame(t *testing.T) {
	begun := make(chan struct{})
	cancelled := make(chan struct{})
	g := newGateway(t, setup{session: session{bind: func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
		close(begun)
		<-ctx.Done()
		close(cancelled)
		return nil, ctx.Err()
	}}})
	s := g.socket("/ws")
	s.next("ready")
	s.ask(`{"type":"bind","bindings":[]}`)
	<-begun
	g.publish("1")
	s.next("message")
	_ = s.conn.Close() // nobody waits for it any more
	<-cancelled
	if end := g.ended(1); end.Reason != transport.ReasonClientGone {
		t.Errorf("ended with %+v", end)
	}
}

// TestEndDoesNotWaitForTheRequestUnderWay has a bind that the broker would let wait for as long as it likes.
func TestEndDoesNotWaitForTheRequestUnderWay(t *testing.T) {
	begun := make(chan struct{})
	g := newGateway(t, setup{session: session{bind: func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}}})
	s := g.socket("/ws")
	s.next("ready")
	s.ask(`{"type":"ping"}`)
	s.ask(`{"type":"bind","bindings":[]}`)
	<-begun
	g.sub.End(broker.EndDeleted)
	s.next("pong")
	s.bye(4410, "subscription_deleted")
	if end := g.ended(1); end.Reason != transport.ReasonSubscriptionDeleted || end.Duration > patience/2 {
		t.Errorf("ended with %+v", end)
	}
}

func TestFirstMessageBringsTheToken(t *testing.T) {
	g := newGateway(t, setup{needAuth: true})
	s := g.socket("/ws", frame(0x81, `{"type":"auth","ref":"r","token":"secret"}`))
	s.next("ready")
	if text := s.text(); text != `{"type":"ok","ref":"r","subscription":{"id":"first"}}` {
		t.Errorf("got %s", text)
	}
	g.publish("1")
	s.next("message")
}

func TestFirstMessageThatBringsNoTokenIsRefused(t *testing.T) {
	for name, first := range map[string][]byte{
		"nothing":     nil,
		"ping":        frame(0x81, `{"type":"ping"}`),
		"binary":      frame(0x82, `{"type":"auth","token":"secret"}`),
		"not JSON":    frame(0x81, `secret`),
		"wrong token": frame(0x81, `{"type":"auth","token":"x"}`),
		"half":        frame(0x81, `{"type":"auth","token":"secret"}`)[:10],
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, setup{needAuth: true, transport: transport.Options{AuthTimeout: 100 * time.Millisecond}})
			s := g.socket("/ws", first)
			s.bye(4401, "unauthorized")
			g.ended(1)
			if name != "wrong token" && g.refused != 1 {
				t.Error("nobody was told")
			}
			if n := g.server.Stats().Refusals[transport.ReasonUnauthorized]; n != 1 {
				t.Errorf("%d refusals are counted", n)
			}
		})
	}
}

// TestWhoHangsUpDuringTheOpeningEndsIt has clients that ask for something and are
// gone while Open waits for the broker: nobody is there yet to answer, and Open
// need not go on.
func TestWhoHangsUpDuringTheOpeningEndsIt(t *testing.T) {
	for _, needAuth := range []bool{false, true} {
		t.Run(fmt.Sprintf("auth=%t", needAuth), func(t *testing.T) {
			var log brokertest.Buffer
			opening := make(chan struct{})
			g := newGateway(t, setup{
				needAuth: needAuth,
				logger:   slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
				open: func(ctx context.Context) error {
					close(opening)
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(patience):
						return errors.New("nobody said that the client is gone")
					}
				},
			})
			s := g.socket("/ws")
			if needAuth {
				s.ask(`{"type":"auth","token":"secret"}`)
			}
			<-opening
			s.ask(`{"type":"ping"}`)
			if err := s.conn.(*net.TCPConn).CloseWrite(); err != nil { //nolint:forcetypeassert // plain TCP
				t.Fatal(err)
			}
			if end := g.ended(1); end.Reason != transport.ReasonClientGone {
				t.Errorf("ended with %+v", end)
			}
			if text := log.String(); text != "" {
				t.Errorf("the log has %s", text)
			}
		})
	}
}

func TestWebSocketRefusalSaysBye(t *testing.T) {
	g := newGateway(t, setup{})
	for code, want := range map[broker.Code]struct {
		code   int
		reason string
	}{
		broker.CodeUnauthorized: {4401, "unauthorized"}, broker.CodeExchangeNotFound: {4404, "exchange_not_found"},
		broker.CodeLimitReached: {4429, "limit_reached"}, broker.CodeBrokerUnavailable: {4503, "broker_unavailable"},
		broker.CodeShuttingDown: {1001, "shutting_down"}, broker.CodeInvalidPosition: {4400, "invalid_position"},
	} {
		g.socket("/ws?refuse="+string(code)).bye(want.code, want.reason)
	}
	failing := newGateway(t, setup{open: func(context.Context) error { return broker.Errorf(broker.CodeForbiddenBinding, "no") }})
	failing.socket("/ws").bye(4403, "forbidden_binding")
	failing.ended(1)
}

func TestPanicEndsItsOwnStreamOnly(t *testing.T) {
	var first atomic.Bool
	auth := func(context.Context, string) (json.RawMessage, error) { panic("boom") }
	g := newGateway(t, setup{session: session{auth: auth}, open: func(context.Context) error {
		if first.CompareAndSwap(false, true) {
			panic("boom")
		}
		return nil
	}})
	s := g.socket("/ws")
	if _, _, err := s.read(); err == nil {
		t.Error("the stream goes on")
	}
	if end := g.ended(1); end.Reason != transport.ReasonInternalError {
		t.Errorf("ended with %+v", end)
	}
	s = g.socket("/ws")
	s.next("ready")
	s.ask(`{"type":"auth","token":"x"}`)
	s.bye(1011, "internal_error")
	g.socket("/ws").next("ready")
}

func TestPeerThatAnswersNoPingIsEnded(t *testing.T) {
	g := newGateway(t, setup{transport: transport.Options{Heartbeat: 30 * time.Millisecond, WriteTimeout: 100 * time.Millisecond}})
	s := g.socket("/ws")
	s.bye(4408, "slow_reader")
	g.ended(1)
}

func TestPeerThatAnswersPingsStays(t *testing.T) {
	t.Parallel()                    // it mostly waits
	const timeout = 2 * time.Second // a machine may be that busy
	g := newGateway(t, setup{transport: transport.Options{Heartbeat: 20 * time.Millisecond, WriteTimeout: timeout}})
	client, _, err := websocket.Dial(t.Context(), g.http.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	begin, pings := time.Now(), 0
	for pings < 20 || time.Since(begin) < timeout+timeout/4 {
		_, p, err := client.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(p), `"type":"ping"`) {
			pings++
		}
	}
	if err := client.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestWebSocketThatStallsIsEndedAndDelaysNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	g := newGateway(t, setup{
		transport: transport.Options{WriteTimeout: 2 * time.Second},
		limits:    func(l *broker.Limits) { l.LogBytes = 64 << 20 },
	})
	g.socket("/ws") // reads nothing
	g.attached(1)
	other := g.socket("/ws")
	const n = 200
	go func() {
		for range n {
			g.publish(strings.Repeat("x", 100<<10))
		}
	}()
	for range n {
		other.next("message")
	}
	if end := g.ended(1); end.Reason != transport.ReasonSlowReader || end.Messages == 0 || end.Bytes < end.Messages*(100<<10) {
		t.Errorf("ended with %+v", end)
	}
}

func TestHandshakeThatIsNone(t *testing.T) {
	g := newGateway(t, setup{})
	resp := do(t, g, "/ws")
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("got %d", resp.StatusCode)
	}
}
