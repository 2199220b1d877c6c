package transport_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// reader reads an event stream as it is on the wire.
type reader struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// get sends a request over HTTP/1.1 and returns the response's head and its body.
func (g *gateway) get(target string) (head string, body *reader) {
	g.t.Helper()
	conn := g.dial()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
	body = &reader{t: g.t, conn: conn, r: bufio.NewReader(conn)}
	return body.until("\r\n\r\n"), body
}

// until reads up to an empty line, which with the end of the one before is end.
func (r *reader) until(end string) string {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	var b strings.Builder
	for line := ""; line != end[len(end)/2:]; { // an empty line
		var err error
		if line, err = r.r.ReadString('\n'); err != nil {
			r.t.Fatalf("read %q: %v", b.String(), err)
		}
		b.WriteString(line)
	}
	return b.String()
}

// event reads one event.
func (r *reader) event() string {
	r.t.Helper()
	return r.until("\n\n")
}

// eof checks that the stream is over.
func (r *reader) eof() {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(r.r); err != nil || len(rest) > 0 {
		r.t.Fatalf("after the end came %q, %v", rest, err)
	}
}

// skip reads the opening and the ready frame.
func (r *reader) skip() {
	r.t.Helper()
	r.event()
	if e := r.event(); !strings.HasPrefix(e, "event: ready\n") {
		r.t.Fatalf("got %q for ready", e)
	}
}

func TestSSEIsExactOnTheWire(t *testing.T) {
	g := newGateway(t, setup{})
	g.publish("1", `{"a": 2}`)
	eventually(t, "two events", func() bool { return g.sub.Snapshot().Newest.Offset == 2 })
	head, r := g.get("/sse")
	for _, line := range []string{
		"HTTP/1.1 200 OK\r\n", "\r\nContent-Type: text/event-stream\r\n", "\r\nCache-Control: no-store, no-transform\r\n",
		"\r\nX-Accel-Buffering: no\r\n", "\r\nConnection: close\r\n", "\r\nAccess-Control-Allow-Origin: https://example.org\r\n", "\r\nDate: ",
	} {
		if !strings.Contains(head, line) {
			t.Errorf("no %q in %q", line, head)
		}
	}
	if strings.Contains(head, "Transfer-Encoding") {
		t.Errorf("chunked: %q", head)
	}
	if e := r.event(); !regexp.MustCompile(`^retry: [123]\d\d\d\n\n$`).MatchString(e) {
		t.Errorf("opening is %q", e)
	}
	id := g.sub.Stream()
	if e := r.event(); !strings.HasPrefix(e, "event: ready\nid: "+id+".0\ndata: {\"type\":\"ready\",\"id\":\""+id+".0\"") {
		t.Errorf("ready is %q", e)
	}
	for i, payload := range []string{"1", `{"a":2}`} {
		e := r.event()
		if !strings.HasPrefix(e, fmt.Sprintf("id: %s.%d\ndata: {\"type\":\"message\"", id, i+1)) ||
			!strings.Contains(e, `"payload":`+payload) {
			t.Errorf("message %d is %q", i, e)
		}
	}
	g.sub.End(broker.EndDeleted)
	e := r.event()
	if !regexp.MustCompile(`^event: bye\nretry: (\d+)\ndata: {"type":"bye","code":4410,"reason":"subscription_deleted","reconnect":false,"retry_ms":(\d+)}\n\n$`).MatchString(e) {
		t.Errorf("bye is %q", e)
	}
	r.eof()
	if end := g.ended(1); end.Reason != transport.ReasonSubscriptionDeleted || end.Code != 4410 || end.Messages != 2 {
		t.Errorf("ended with %+v", end)
	}
}

// TestStreamThatIsOverBeforeItBeginsHasAHead has one that is ended between its attaching and its first turn.
func TestStreamThatIsOverBeforeItBeginsHasAHead(t *testing.T) {
	want := regexp.MustCompile(`^retry: \d+\n\nevent: bye\nretry: \d+\ndata: {"type":"bye","code":4401,"reason":"token_expired","reconnect":false,"retry_ms":\d+}\n\n$`)
	for _, s := range []setup{{}, {tls: true}, {http2: true}} {
		g := newGateway(t, s)
		resp := do(t, g, "/sse?ended=token_expired")
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || !want.Match(body) {
			t.Errorf("got %s %d %v %q %v", resp.Proto, resp.StatusCode, resp.Header, body, err)
		}
	}
}

func TestSSEHeadIsTheStreamsWithoutABody(t *testing.T) {
	g := newGateway(t, setup{})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodHead, g.http.URL+"/sse", nil)
	resp, err := g.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || g.sub.Snapshot().SSE != 0 {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
}

func TestSSERefusalSaysWhenToComeBack(t *testing.T) {
	g := newGateway(t, setup{})
	resp := do(t, g, "/sse?refuse=over_capacity")
	body, _ := io.ReadAll(resp.Body)
	want := regexp.MustCompile(`^retry: \d+\n\nevent: bye\nretry: \d+\ndata: {"type":"bye","code":4503,"reason":"over_capacity","reconnect":true,"retry_ms":\d+}\n\n$`)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || !want.Match(body) {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	if n := g.server.Stats().Refusals[transport.ReasonOverCapacity]; n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
}

func do(t *testing.T, g *gateway, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.http.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestWhatAClientSendsAfterItsRequestDoesNotResetTheStream: with something unread, closing would.
func TestWhatAClientSendsAfterItsRequestDoesNotResetTheStream(t *testing.T) {
	for _, tc := range []setup{{}, {tls: true}} {
		g := newGateway(t, tc)
		_, r := g.get("/sse")
		r.skip()
		fmt.Fprint(r.conn, strings.Repeat("\r\n", 1000))
		g.attached(1)
		g.sub.End(broker.EndDeleted)
		if e := r.event(); !strings.HasPrefix(e, "event: bye\n") {
			t.Errorf("got %q", e)
		}
		r.eof()
	}
}

func TestClientThatLeavesIsNoticedAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name string
		setup
	}{
		{name: "HTTP/1.1"}, {name: "TLS", setup: setup{tls: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGateway(t, tc.setup)
			_, r := g.get("/sse")
			r.skip()
			g.attached(1)
			left := time.Now()
			_ = r.conn.Close()
			if end := g.ended(1); end.Reason != transport.ReasonClientGone || end.Code != 1006 {
				t.Errorf("ended with %+v", end)
			}
			if took := time.Since(left); took > 5*time.Second {
				t.Errorf("noticed after %v", took)
			}
			g.attached(0)
			<-g.sessions[0].closed
		})
	}
}

func TestSSEOverHTTP2(t *testing.T) {
	g := newGateway(t, setup{http2: true})
	g.publishNumbers(3)
	resp := do(t, g, "/sse")
	if resp.ProtoMajor != 2 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s %v", resp.Proto, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	next := func(prefix string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				return
			}
		}
		t.Fatalf("no %q: %v", prefix, lines.Err())
	}
	next("retry: ")
	next("event: ready")
	for i := range 3 {
		next("id: " + g.sub.Stream() + "." + strconv.Itoa(i+1))
	}
	g.publish("4") // after the stream was idle
	next("id: " + g.sub.Stream() + ".4")
	_ = resp.Body.Close()
	if end := g.ended(1); end.Reason != transport.ReasonClientGone {
		t.Errorf("ended with %+v", end)
	}
	resp = do(t, g, "/sse?after="+g.sub.Stream()+".4")
	g.attached(1)
	g.sub.End(broker.EndExpired)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(rest), `"reason":"subscription_expired"`) {
		t.Errorf("read %q, %v", rest, err)
	}
}

func TestManyFramesOfAllSizesArriveWholeAndInOrder(t *testing.T) {
	for _, s := range []setup{{}, {tls: true}, {http2: true}} {
		t.Run(fmt.Sprintf("tls=%v,http2=%v", s.tls, s.http2), func(t *testing.T) {
			g := newGateway(t, s)
			sizes := []int{1, 100, 8 << 10, 20 << 10, 40 << 10, 300 << 10, 10, 8191, 8192, 32 << 10}
			var bodies []string
			for i := range 60 {
				bodies = append(bodies, strings.Repeat("x", sizes[i%len(sizes)]))
			}
			resp := do(t, g, "/sse")
			go g.publish(bodies...)
			lines := bufio.NewScanner(resp.Body)
			lines.Buffer(nil, 1<<20)
			seen := 0
			for seen < len(bodies) && lines.Scan() {
				if !strings.Contains(lines.Text(), `"type":"message"`) {
					continue
				}
				if !strings.Contains(lines.Text(), `"payload":"`+bodies[seen]+`"`) {
					t.Fatalf("message %d is %d bytes", seen, len(lines.Text()))
				}
				seen++
			}
			if seen != len(bodies) {
				t.Errorf("%d messages, %v", seen, lines.Err())
			}
		})
	}
}

func TestHeartbeatComesWhenNothingElseDoes(t *testing.T) {
	g := newGateway(t, setup{transport: transport.Options{Heartbeat: 50 * time.Millisecond}})
	_, r := g.get("/sse")
	r.skip()
	for range 3 {
		if e := r.event(); !strings.HasPrefix(e, "event: ping\ndata: {\"type\":\"ping\",\"time\":\"") ||
			!strings.Contains(e, `"newest":null`) {
			t.Errorf("got %q", e)
		}
	}
	g.publish("1")
	for {
		if e := r.event(); strings.HasPrefix(e, "id: ") {
			break
		}
	}
	for !strings.Contains(r.event(), `"newest":"`+g.sub.Stream()+`.1"`) {
		continue
	}
}

func TestReaderThatStallsIsEndedAndDelaysNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	g := newGateway(t, setup{
		transport: transport.Options{WriteTimeout: 2 * time.Second},
		limits:    func(l *broker.Limits) { l.LogBytes = 64 << 20 },
	})
	_, stalled := g.get("/sse")
	g.attached(1)
	_, other := g.get("/sse")
	g.attached(2)
	const n = 200
	go func() {
		for range n { // more than any socket buffer takes
			g.publish(strings.Repeat("x", 100<<10))
		}
	}()
	other.skip()
	for range n {
		other.event()
	}
	if end := g.ended(1); end.Reason != transport.ReasonSlowReader || end.Code != 4408 {
		t.Errorf("ended with %+v", end)
	}
	g.attached(1)
	_ = stalled.conn.Close()
}
