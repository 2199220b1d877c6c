package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
)

// corpus is what publishers do to a gateway: each body has to arrive as it was.
var corpus = []string{
	"", "1", "null", `"text"`, "line\nbreak\r\nand\rcarriage return", "\n\n", ": comment", "data: forged\n\n", "id: 7\nevent: bye",
	"\u2028\u2029", "<script>&amp;", `{"a":"b"}`, `[1.0,1e400]`, "not JSON {", strings.Repeat("long ", 30_000), "\x00\x01\x7f", "zażółć 🙈",
}

// payload returns what a reader makes of a message frame: its id and its body.
func payload(t *testing.T, frame []byte) (id, body string) {
	t.Helper()
	var f struct {
		ID       string          `json:"id"`
		Payload  json.RawMessage `json:"payload"`
		Encoding string          `json:"payload_encoding"`
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		t.Fatalf("%q: %v", frame, err)
	}
	var err error
	switch f.Encoding {
	case "json":
		return f.ID, string(f.Payload)
	case "base64":
		var b []byte
		err = json.Unmarshal(f.Payload, &b)
		body = string(b)
	default:
		err = json.Unmarshal(f.Payload, &body)
	}
	if err != nil {
		t.Fatalf("%q is %s: %v", f.Payload, f.Encoding, err)
	}
	return f.ID, body
}

// checkRead checks what a reader made of the n-th message.
func (g *gateway) checkRead(t *testing.T, n int, id string, data []byte) {
	t.Helper()
	frameID, body := payload(t, data)
	if want := fmt.Sprintf("%s.%d", g.sub.Stream(), n+1); frameID != want || id != want {
		t.Errorf("ids %q and %q, want %s", id, frameID, want)
	}
	if body != corpus[n] {
		t.Errorf("%q arrived as %q", corpus[n], body)
	}
}

// The next three read with libraries that we did not write.

func TestTmaxmaxReadsBackWhatWasPublished(t *testing.T) {
	g := newGateway(t, setup{})
	g.publish(corpus...)
	n := 0
	for e, err := range tmaxmax.Read(do(t, g, "/sse").Body, &tmaxmax.ReadConfig{MaxEventSize: 4 << 20}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != "" {
			continue
		}
		g.checkRead(t, n, e.LastEventID, []byte(e.Data))
		if n++; n == len(corpus) {
			return
		}
	}
}

func TestR3labsReadsBackWhatWasPublished(t *testing.T) {
	g := newGateway(t, setup{})
	g.publish(corpus...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	client := r3labs.NewClient(g.http.URL+"/sse", r3labs.ClientMaxBufferSize(4<<20))
	client.Connection = g.http.Client()
	err := client.SubscribeRawWithContext(ctx, func(e *r3labs.Event) {
		if len(e.Event) > 0 || len(e.Data) == 0 || n == len(corpus) {
			return
		}
		g.checkRead(t, n, string(e.ID), e.Data)
		if n++; n == len(corpus) {
			cancel()
		}
	})
	if n != len(corpus) || err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%d messages, %v", n, err)
	}
}

func TestCoderWebSocketReadsBackWhatWasPublished(t *testing.T) {
	g := newGateway(t, setup{})
	g.publish(corpus...)
	client, _, err := websocket.Dial(t.Context(), g.http.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.CloseNow() }()
	client.SetReadLimit(4 << 20)
	if _, ready, err := client.Read(t.Context()); err != nil || !strings.HasPrefix(string(ready), `{"type":"ready"`) {
		t.Fatalf("got %q, %v", ready, err)
	}
	for n := range corpus {
		_, data, err := client.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id, _ := payload(t, data)
		g.checkRead(t, n, id, data)
	}
}
