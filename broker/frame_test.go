package broker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestPayloadIsWrittenAsTheContractSays(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	cases := []struct {
		name, contentType, body string
		mode                    PayloadMode
		payload, encoding       string
	}{
		{name: "JSON", contentType: "application/json", body: `{"a": 1}`, payload: `{"a":1}`, encoding: "json"},
		{name: "JSON with a charset", contentType: "application/json; charset=utf-8", body: `[1]`, payload: `[1]`, encoding: "json"},
		{name: "JSON suffix", contentType: "application/vnd.x+json", body: `true`, payload: `true`, encoding: "json"},
		{name: "JSON without a type", body: ` null `, payload: `null`, encoding: "json"},
		{name: "JSON with line breaks", body: "{\r\n\"a\":\n[1,\r2]}", payload: `{"a":[1,2]}`, encoding: "json"},
		{name: "big number", body: `123456789012345678901234567890.10`, payload: `123456789012345678901234567890.10`, encoding: "json"},
		{name: "JSON of another type", contentType: "text/plain", body: `{}`, payload: `"{}"`, encoding: "string"},
		{name: "raw", mode: PayloadRaw, body: `{"a": 1}`, payload: `"{\"a\": 1}"`, encoding: "string"},
		{name: "64 deep", body: deep(64), payload: deep(64), encoding: "json"},
		{name: "65 deep", body: deep(65), payload: `"` + deep(65) + `"`, encoding: "string"},
		{name: "brackets in a string", body: `"` + deep(80) + `"`, payload: `"` + deep(80) + `"`, encoding: "json"},
		{name: "trailing value", body: `{} {}`, payload: `"{} {}"`, encoding: "string"},
		{name: "empty", body: "", payload: `""`, encoding: "string"},
		{name: "text", body: "hello\r\nworld\u2028", payload: `"hello\r\nworld` + "\u2028" + `"`, encoding: "string"},
		{name: "byte order mark", body: "\ufeff{}", payload: "\"\ufeff{}\"", encoding: "string"},
		{name: "binary", body: "\xff\x00", payload: `"` + base64.StdEncoding.EncodeToString([]byte("\xff\x00")) + `"`, encoding: "base64"},
		{name: "invalid UTF-8 in JSON", contentType: "application/json", body: "\"\xff\"", payload: `"` + base64.StdEncoding.EncodeToString([]byte("\"\xff\"")) + `"`, encoding: "base64"},
		{name: "control characters", body: strings.Repeat("\x01", 9), payload: `"AQEBAQEBAQEB"`, encoding: "base64"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := &Message{Properties: Properties{ContentType: c.contentType}, Body: []byte(c.body)}
			want := `,"payload":` + c.payload + `,"payload_encoding":"` + c.encoding + `"`
			if got := string(appendPayload(nil, m, c.mode)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestMessageFrameOnBothTransports(t *testing.T) {
	var w frameWriter
	m := &Message{Exchange: "e\"x", RoutingKey: "a.\xff", Properties: Properties{
		MessageID: "m1", HasTimestamp: true, Timestamp: 1_700_000_000_123, Priority: 3, DeliveryMode: 2,
		Headers: Table{
			"n": nil, "b": true, "i": int64(-5), "u": uint64(math.MaxUint64), "f": 1.5, "f32": float32(0.1),
			"nan": math.NaN(), "inf": math.Inf(-1), "s": "ü", "bad": "\xff", "by": []byte{0xfe},
			"d": Decimal{Scale: 3, Value: -5}, "t": Timestamp(7), "tab": Table{"x": []any{int64(1), Table{}}},
		},
	}, Body: []byte("x")}
	f := w.message(Position{Stream: "S", Offset: 7}, m, PayloadAuto)
	want := `{"type":"message","id":"S.7","exchange":"e\"x","routing_key":"a.` + "\uFFFD" + `","properties":{"headers":{` +
		`"b":true,"bad":{"base64":"/w=="},"by":{"base64":"/g=="},"d":"-0.005","f":1.5,"f32":0.1,"i":-5,"inf":"-Infinity",` +
		`"n":null,"nan":"NaN","s":"ü","t":7,"tab":{"x":[1,{}]},"u":18446744073709551615},"delivery_mode":2,"priority":3,` +
		`"message_id":"m1","timestamp":1700000000123},"payload":"x","payload_encoding":"string"}`
	if got := string(f.JSON()); got != want {
		t.Errorf("JSON\n got %s\nwant %s", got, want)
	}
	if got := string(f.SSE()); got != "id: S.7\ndata: "+want+"\n\n" {
		t.Errorf("SSE %q", got)
	}
}

func TestOtherFrames(t *testing.T) {
	var w frameWriter
	id := Position{Stream: "S", Offset: 3}
	cases := map[string]Frame{
		"event: gap\nid: S.3\ndata: {\"type\":\"gap\",\"id\":\"S.3\",\"missed\":null,\"reason\":\"queue_lost\"}\n\n": w.gap(id, 3, gap{reason: GapQueueLost, missed: unknownCount}),
		"event: gap\nid: S.3\ndata: {\"type\":\"gap\",\"id\":\"S.3\",\"missed\":4,\"reason\":\"queue_overflow\",\"since\":\"S.1\"}\n\n": w.gap(id, 3,
			gap{reason: GapQueueOverflow, missed: 4, since: Position{Stream: "S", Offset: 1}}),
		"event: gap\nid: S.3\ndata: {\"type\":\"gap\",\"id\":\"S.3\",\"missed\":1,\"reason\":\"oversized\",\"exchange\":\"e\",\"routing_key\":\"k\",\"size\":9}\n\n": w.gap(id, 3,
			gap{reason: GapOversized, missed: 1, exchange: "e", routingKey: "k", size: 9}),
		"event: bindings\nid: S.3\ndata: {\"type\":\"bindings\",\"id\":\"S.3\",\"bindings\":[]}\n\n":                                      w.bindings(id, 3, []byte("[]")),
		"event: ready\nid: S.3\ndata: {\"type\":\"ready\",\"id\":\"S.3\",\"stream\":\"S\",\"bindings\":[],\"resumed\":true}\n\n":          w.ready(id, "S", "", []byte("[]"), true),
		"event: ready\ndata: {\"type\":\"ready\",\"stream\":\"S\",\"subscription\":\"X\",\"bindings\":[],\"resumed\":false}\n\n":          w.ready(Position{}, "S", "X", []byte("[]"), false),
		"event: paused\ndata: {\"type\":\"paused\",\"scope\":\"attachment\"}\n\n":                                                         framePausedAttachment,
		"event: ping\ndata: {\"type\":\"ping\",\"time\":\"1970-01-01T00:00:01.000Z\",\"newest\":null}\n\n":                                PingFrame(time.Unix(1, 0), ""),
		"event: ping\ndata: {\"type\":\"ping\",\"time\":\"1970-01-01T00:00:01.000Z\",\"newest\":\"S.1\"}\n\n":                             PingFrame(time.Unix(1, 0), "S.1"),
		"event: bye\nretry: 9\ndata: {\"type\":\"bye\",\"code\":1001,\"reason\":\"shutting_down\",\"reconnect\":true,\"retry_ms\":9}\n\n": ByeFrame(Bye{Code: 1001, Reason: "shutting_down", Reconnect: true, RetryMS: 9}),
		"event: ok\ndata: {\"type\":\"ok\",\"ref\":\"r\",\"subscription\":{}}\n\n":                                                        OKFrame([]byte(`"r"`), []byte("{}")),
		"event: error\ndata: {\"type\":\"error\",\"problem\":{}}\n\n":                                                                     ErrorFrame(nil, []byte("{}")),
		"event: pong\ndata: {\"type\":\"pong\",\"ref\":1}\n\n":                                                                            PongFrame([]byte("1")),
	}
	for want, f := range cases {
		if string(f.SSE()) != want {
			t.Errorf("got  %q\nwant %q", f.SSE(), want)
		}
		if !json.Valid(f.JSON()) {
			t.Errorf("not JSON: %s", f.JSON())
		}
	}
	if got := string(markerList(w.bindings(id, 3, []byte(`[{"id":"x"}]`)))); got != `[{"id":"x"}]` {
		t.Errorf("the list of a marker is %s", got)
	}
}

func TestDecimals(t *testing.T) {
	for want, d := range map[string]Decimal{
		`"0"`: {}, `"12"`: {Value: 12}, `"1.2"`: {Scale: 1, Value: 12}, `"0.012"`: {Scale: 3, Value: 12},
		`"-2147483648"`: {Value: math.MinInt32}, `"0.00"`: {Scale: 2},
	} {
		if got := string(appendDecimal(nil, d)); got != want {
			t.Errorf("%+v is %s, want %s", d, got, want)
		}
	}
}

func FuzzMessageFrame(f *testing.F) {
	f.Add("e", "k", "application/json", []byte(`{"a":[1,"\u2028"]}`))
	f.Add("", "\xff", "", []byte("\xff\r\n\x00"))
	f.Fuzz(func(t *testing.T, exchange, key, contentType string, body []byte) {
		for _, mode := range []PayloadMode{PayloadAuto, PayloadRaw} {
			checkMessageFrame(t, mode, &Message{
				Exchange: exchange, RoutingKey: key, Body: body,
				Properties: Properties{ContentType: contentType, Headers: Table{key: exchange}},
			})
		}
	})
}

func checkMessageFrame(t *testing.T, mode PayloadMode, m *Message) {
	t.Helper()
	var w frameWriter
	frame := w.message(Position{Stream: "S", Offset: 1}, m, mode)
	object := frame.JSON()
	if bytes.ContainsAny(object, "\r\n") || !utf8.Valid(object) {
		t.Fatalf("breaks its line, or is not UTF-8: %q", object)
	}
	var decoded struct {
		Payload         json.RawMessage `json:"payload"`
		PayloadEncoding string          `json:"payload_encoding"`
	}
	if err := json.Unmarshal(object, &decoded); err != nil {
		t.Fatalf("%v: %q", err, object)
	}
	var got []byte
	switch decoded.PayloadEncoding {
	case "string":
		var s string
		if err := json.Unmarshal(decoded.Payload, &s); err != nil {
			t.Fatal(err)
		}
		got = []byte(s)
	case "base64":
		if err := json.Unmarshal(decoded.Payload, &got); err != nil {
			t.Fatal(err)
		}
	case "json":
		var compact bytes.Buffer
		if err := json.Compact(&compact, m.Body); err != nil || mode == PayloadRaw {
			t.Fatalf("inlined what is no JSON, or in raw mode: %q", m.Body)
		}
		if !bytes.Equal(compact.Bytes(), decoded.Payload) {
			t.Fatalf("inlined %q for %q", decoded.Payload, m.Body)
		}
		return
	}
	if !bytes.Equal(got, m.Body) {
		t.Fatalf("payload %q for body %q", got, m.Body)
	}
}
