package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

// rabbitPublisher declares and publishes over AMQP, as those whom the gateway
// listens to do.
type rabbitPublisher struct {
	t    *testing.T
	conn *amqp.Connection
	ch   *amqp.Channel
}

func newRabbitPublisher(t *testing.T, url string) *rabbitPublisher {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the broker may have been stopped by the test
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return &rabbitPublisher{t: t, conn: conn, ch: ch}
}

func (p *rabbitPublisher) declare(name string) {
	p.t.Helper()
	if err := p.ch.ExchangeDeclare(name, "topic", true, false, false, false, nil); err != nil {
		p.t.Fatal(err)
	}
}

// publish publishes the numbers from first to last and waits until the broker
// has taken the last of them.
func (p *rabbitPublisher) publish(exchange string, first, last int) {
	p.t.Helper()
	p.publishAhead(exchange, first, last)
}

// publishAhead is publish that keeps at most 5,000 messages ahead of what each
// of seen says has arrived: half of what a queue and a log hold. A broker takes
// messages faster than it delivers them, and drops the oldest of a queue that is
// full; and the race detector makes readers slower than the gateway.
func (p *rabbitPublisher) publishAhead(exchange string, first, last int, seen ...*atomic.Int64) {
	p.t.Helper()
	var newest *amqp.DeferredConfirmation
	for i := first; i <= last; i++ {
		if i%100 == 0 {
			for _, reader := range seen {
				p.awaitSeen(reader, int64(i)-5000)
			}
		}
		var err error
		newest, err = p.ch.PublishWithDeferredConfirmWithContext(p.t.Context(), exchange, "n."+strconv.Itoa(i%7), false, false,
			amqp.Publishing{Body: strconv.AppendInt(nil, int64(i), 10)})
		if err != nil {
			p.t.Fatalf("publishing %d: %v", i, err)
		}
		if i%1000 == 0 { // the broker is slower than the socket: do not fill the memory in between
			newest.Wait()
		}
	}
	if !newest.Wait() {
		p.t.Fatal("the broker did not take a message")
	}
}

func (p *rabbitPublisher) awaitSeen(seen *atomic.Int64, number int64) {
	p.t.Helper()
	if seen.Load() >= number {
		return
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for seen.Load() < number {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("message %d has not arrived after a minute, only %d", number, seen.Load())
		}
	}
}

// frameReader reads one stream, of either transport, as a client that keeps up.
type frameReader struct {
	frames func() ([]byte, error)
	close  func()
}

// openSSE opens an event stream that is held to the contract; header may carry
// Last-Event-ID.
func openSSE(t *testing.T, url string, header http.Header) *frameReader {
	t.Helper()
	transport := &http.Transport{}
	return openSSEBy(t, contract.Watch(t, transport), transport, url, header)
}

// openCrowdSSE is openSSE for one of many alike, number i of them: only the first
// are held to the contract, since thousands would measure the contract's checks.
func openCrowdSSE(t *testing.T, i int, url string) *frameReader {
	t.Helper()
	if i < 8 {
		return openSSE(t, url, nil)
	}
	transport := &http.Transport{}
	return openSSEBy(t, transport, transport, url, nil)
}

func openSSEBy(t *testing.T, by http.RoundTripper, transport *http.Transport, url string, header http.Header) *frameReader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := by.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s answers %d %s", url, resp.StatusCode, body)
	}
	lines := bufio.NewReaderSize(resp.Body, 256<<10)
	r := &frameReader{close: func() {
		cancel()
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
	}}
	r.frames = func() ([]byte, error) {
		for {
			line, err := lines.ReadSlice('\n')
			if err != nil {
				return nil, err
			}
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
				return data, nil
			}
		}
	}
	t.Cleanup(r.close)
	return r
}

// openWS opens a WebSocket; url is http.
func openWS(t *testing.T, url string) (*frameReader, *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	r := &frameReader{
		frames: func() ([]byte, error) {
			_, frame, err := conn.Read(ctx)
			return frame, err
		},
		close: func() {
			_ = conn.CloseNow()
			cancel()
		},
	}
	t.Cleanup(r.close)
	return r, conn
}

// tally is what a reader got, as far as the promise goes.
type tally struct {
	first, last   int // numbers
	lastOffset    int
	lastID        string
	messages      int
	gaps          []string
	readyReceived bool
	seen          atomic.Int64 // last, for others
}

var (
	payloadMember = []byte(`"payload":`)
	idMember      = []byte(`"id":"`)
	typeMember    = []byte(`{"type":"`)
)

// take holds one frame against the promise: offsets without a hole, numbers
// that count up by one save behind a gap. It scans instead of decoding, because
// a reader that is slower than the broker would test something else.
func (c *tally) take(frame []byte) error {
	kind, _, _ := bytes.Cut(frame[len(typeMember):], []byte{'"'})
	if string(kind) == "ping" || string(kind) == "paused" || string(kind) == "resumed" || string(kind) == "ok" || string(kind) == "error" {
		return nil
	}
	if string(kind) == "bye" {
		return fmt.Errorf("the stream ended: %s", frame)
	}
	_, rest, _ := bytes.Cut(frame, idMember)
	id, _, _ := bytes.Cut(rest, []byte{'"'})
	offset, err := strconv.Atoi(string(id[bytes.LastIndexByte(id, '.')+1:]))
	if err != nil {
		return fmt.Errorf("no id in %s", frame)
	}
	c.lastID = string(id)
	switch string(kind) {
	case "ready":
		c.lastOffset, c.readyReceived = offset, true
		return nil
	case "gap":
		c.gaps = append(c.gaps, string(frame))
		c.lastOffset, c.last = offset, 0
		return nil
	}
	if offset != c.lastOffset+1 {
		return fmt.Errorf("offset %d follows %d", offset, c.lastOffset)
	}
	c.lastOffset = offset
	if string(kind) != "message" {
		return nil
	}
	return c.number(frame)
}

func (c *tally) number(frame []byte) error {
	_, rest, _ := bytes.Cut(frame, payloadMember)
	digits, _, _ := bytes.Cut(rest, []byte{','})
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return fmt.Errorf("no number in %s", frame)
	}
	if c.last != 0 && n != c.last+1 {
		return fmt.Errorf("message %d follows %d without a gap", n, c.last)
	}
	if c.messages == 0 {
		c.first = n
	}
	c.last = n
	c.seen.Store(int64(n))
	c.messages++
	return nil
}

// until reads until the message with the number came.
func (c *tally) until(r *frameReader, number int) error {
	for c.last != number {
		frame, err := r.frames()
		if err != nil {
			return fmt.Errorf("after %d messages, the last %d: %w", c.messages, c.last, err)
		}
		if err := c.take(frame); err != nil {
			return err
		}
	}
	return nil
}

// ready reads the first frame.
func (c *tally) ready(r *frameReader) error {
	frame, err := r.frames()
	if err == nil {
		err = c.take(frame)
	}
	if err == nil && !c.readyReceived {
		err = errors.New("the first frame is not ready")
	}
	return err
}

// mustBeReady opens nothing: it reads the first frame or fails the test.
func mustBeReady(t *testing.T, r *frameReader) *tally {
	t.Helper()
	c := &tally{}
	if err := c.ready(r); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestStopIsSwiftWhileTheBrokerStandsStill has a request that waits for the broker, and is answered.
func TestStopIsSwiftWhileTheBrokerStandsStill(t *testing.T) {
	node := rabbittest.Private(t)
	newRabbitPublisher(t, node.URL()).declare("orders")
	const drain = time.Second
	g := startGateway(t, "--broker", node.URL(), "--drain", drain.String(), "--max-subscriptions", "2")
	const bindings = `{"bindings":[{"exchange":"orders","routing_key":"#"}]}`
	for status := 0; status != http.StatusCreated; { // until the broker is connected
		status, _ = g.call("POST", g.url+"/v1/subscriptions", bindings)
	}
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	replies := make(chan string, 2)
	for range cap(replies) {
		go func() {
			resp, err := g.client.Post(g.url+"/v1/subscriptions", "application/json", strings.NewReader(bindings)) //nolint:noctx // the client ends with the gateway
			if err != nil {
				replies <- err.Error()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			answer, _ := io.ReadAll(resp.Body)
			replies <- fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Retry-After") != "", " ", string(answer))
		}()
	}
	// There is room for one more: the other has it, and waits for the broker.
	if r := <-replies; !strings.Contains(r, `"code":"over_capacity"`) {
		t.Fatalf("got %s", r)
	}
	begun := time.Now()
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > drain+stopGrace {
		t.Errorf("it took %v", took)
	}
	if r := <-replies; !strings.HasPrefix(r, "503 true ") || !strings.Contains(r, `"code":"shutting_down"`) {
		t.Errorf("got %s", r)
	}
	if err := node.Continue(); err != nil {
		t.Fatal(err)
	}
}

// TestStopIsSwiftWhileAWebSocketWaitsForTheBroker has one that unbinds, which is not given up once it has begun.
func TestStopIsSwiftWhileAWebSocketWaitsForTheBroker(t *testing.T) {
	node := rabbittest.Private(t)
	newRabbitPublisher(t, node.URL()).declare("orders")
	g := startGateway(t, "--broker", node.URL(), "--drain", "1s")
	g.eventually("warren_broker_ready", 1)
	ctx := bounded(t, patience)
	conn, _, err := websocket.Dial(ctx, strings.Replace(g.url, "http", "ws", 1)+"/v1/ws?exchange=orders&share=false", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if _, ready, err := conn.Read(ctx); err != nil || !strings.Contains(string(ready), `"ready"`) {
		t.Fatalf("got %s, %v", ready, err)
	}
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	err = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"unbind","bindings":[{"exchange":"orders","routing_key":"#"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	g.eventually("warren_websocket_requests_total", 1)
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if err := node.Continue(); err != nil {
		t.Fatal(err)
	}
}
