package suite

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

func init() {
	register(
		Check{Name: "publish bodies of every kind", Of: []string{"P-85", "P-86", "P-87", "P-88", "P-89", "P-90", "P-91", "P-92", "P-93"}, Run: payloadsBodies},
		Check{Name: "publish header tables", Of: []string{"P-94"}, Run: payloadsHeaders},
		Check{Name: "publish header tables of types that JSON has no words for", Of: []string{"P-94"}, Needs: AMQP, Run: payloadsTypes},
		Check{Name: "publish messages around the largest", Of: []string{"P-95", "P-103", "P-105"}, Needs: Oversized, Run: payloadsLargest},
	)
}

// bodyCase is a body and how it has to come with payload=auto; with payload=raw it comes back byte for byte.
type bodyCase struct {
	id, kind, body  string // requirement, content type, what is published
	encoding, frame string // payload_encoding; what the frame has to hold as "payload":…
	timestamp       int
}

func bodyCases() []bodyCase {
	json := "application/json"
	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	b64 := base64.StdEncoding.EncodeToString
	return []bodyCase{
		{"P-85", json, ` {"b" : 1.50e+3 , "a":[ 18446744073709551617,-0.0, null ] } `, "json", `{"b":1.50e+3,"a":[18446744073709551617,-0.0,null]}`, 0},
		{"P-85", "", `{"plain":true}`, "json", `{"plain":true}`, 0},
		{"P-85", "application/vnd.x+json; charset=utf-8", `"s"`, "json", `"s"`, 0},
		{"P-85", "TEXT/JSON", "12", "json", "12", 0},
		{"P-86", json, "{\r\n \"a\"\n:\r\"x\\ny\"\r\n}\n\n", "json", `{"a":"x\ny"}`, 0},
		{"P-87", json, nest(64), "json", nest(64), 0},
		{"P-87", json, nest(65), "string", text(nest(65)), 0},
		{"P-88", "text/plain", `{"a":1}`, "string", `"{\"a\":1}"`, 0},
		{"P-88", "text/plain", "grüße\u2028\ufeff", "string", "", 0},
		{"P-89", json, `{"a":`, "string", `"{\"a\":"`, 0},
		{"P-89", json, "{\"a\":\"\xff\"}", "base64", `"` + b64([]byte("{\"a\":\"\xff\"}")) + `"`, 0},
		{"P-90", "", "\xff\xfe\x00", "base64", `"//4A"`, 0},
		{"P-90", "image/png", "\x89PNG\r\n\x1a\n", "base64", `"` + b64([]byte("\x89PNG\r\n\x1a\n")) + `"`, 0},
		{"P-91", "", "", "string", `""`, 0},
		{"P-91", json, "", "string", `""`, 0},
		{"P-93", "", "ms", "string", `"ms"`, 1773480413123},
	}
}

func payloadsBodies(t *T) {
	x := t.Exchange("topic")
	auto, raw := t.Create(on(x, "#")), t.Create(on(x, "#"), "payload", "raw")
	a, r := auto.WS(), raw.SSE()
	a.Ready()
	r.Ready()
	for _, c := range bodyCases() {
		p := object{}
		if c.kind != "" {
			p["content_type"] = c.kind
		}
		if c.timestamp != 0 {
			p["timestamp"] = c.timestamp
		}
		t.PublishMessage(x, "a", Message{Body: []byte(c.body), Properties: p})
		f := a.Expect("message")
		encoding := str(f.object, "payload_encoding")
		ok := encoding == c.encoding
		if c.frame != "" {
			ok = ok && bytes.Contains(f.Raw, []byte(`"payload":`+c.frame+`,"payload_encoding"`))
		}
		t.Is(c.id, ok, "%s %.40s: %s %s", c.kind, text(c.body), encoding, f)
		if c.timestamp != 0 {
			t.Is("P-93", num(f.object, "properties", "timestamp") == int64(c.timestamp), "milliseconds come as %d", num(f.object, "properties", "timestamp"))
		}
		f = r.Expect("message")
		back, err := payloadBytes(f)
		t.Is("P-92", err == nil && string(back) == c.body, "%d bodies with payload=raw, the last %.30s: %v %s", len(bodyCases()), text(c.body), err, f)
	}
}

// payloadBytes returns the bytes of a payload that is not inlined.
func payloadBytes(f *Frame) ([]byte, error) {
	switch encoding := str(f.object, "payload_encoding"); encoding {
	case "string":
		return []byte(f.Body()), nil
	case "base64":
		return base64.StdEncoding.DecodeString(f.Body())
	default:
		return nil, fmt.Errorf("payload_encoding %s", encoding)
	}
}

func payloadsHeaders(t *T) {
	x := t.Exchange("topic")
	got := t.Create(on(x, "#")).SSE()
	got.Ready()
	headers := object{"s": "x", "n": 7, "b": true, "z": nil, "t": object{"a": []any{1, object{"deep": "y"}, "z"}}}
	t.PublishMessage(x, "a", Message{Body: []byte("m"), Properties: object{"headers": headers}})
	f := got.Expect("message")
	t.Is("P-94", text(at(f.object, "properties", "headers")) == text(headers), "%s", text(at(f.object, "properties", "headers")))
}

func payloadsTypes(t *T) {
	x := t.Exchange("topic")
	got := t.Create(on(x, "#")).SSE()
	got.Ready()
	table := amqp.Table{
		"decimal": amqp.Decimal{Scale: 2, Value: 12345}, "bytes": []byte{0xff, 0xfe}, "text": []byte("plain"), "int8": int8(-3),
		"float": 1.5, "big": int64(9007199254740993), "nested": amqp.Table{"list": []any{int32(1), "two", nil}},
	}
	t.PublishMessage(x, "a", Message{Body: []byte("m"), Table: table})
	f := got.Expect("message")
	want := `{"big":9007199254740993,"bytes":{"base64":"//4="},"decimal":"123.45","float":1.5,"int8":-3,"nested":{"list":[1,"two",null]},"text":"plain"}`
	t.Is("P-94", text(at(f.object, "properties", "headers")) == want, "%s", text(at(f.object, "properties", "headers")))
}

func payloadsLargest(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "#"), "payload", "raw")
	sse, ws := s.SSE(), s.WS()
	sse.Ready()
	ws.Ready()
	largest := int(t.Bound("max-message-bytes"))
	t.Publish(x, "before", "m1")
	t.Publish(x, "fits", strings.Repeat("x", largest))
	t.Publish(x, "too.large", strings.Repeat("x", largest+1))
	t.Publish(x, "after", "m3")
	sse.Expect("message")
	fits, gap, next := sse.Next(), sse.Next(), sse.Next()
	t.Is("P-95", fits.Type() == "message" && len(fits.Body()) == largest && gap.IsGap("oversized"), "%d bytes: %s of %d; one more: %s", largest,
		fits.Type(), len(fits.Body()), gap)
	t.Is("P-103", gap.IsGap("oversized") && num(gap.object, "missed") == 1 && str(gap.object, "exchange") == x && str(gap.object, "routing_key") == "too.large" &&
		num(gap.object, "size") == int64(largest+1) && next.Body() == "m3", "%s of %s %s, %d bytes, then %s", gap, x, str(gap.object, "routing_key"),
		num(gap.object, "size"), next)
	stream, _, _ := strings.Cut(gap.ID(), ".")
	var other *Frame
	for range 3 {
		other = ws.Next()
	}
	late := s.SSE("from", "earliest")
	late.Ready()
	late.Next()
	late.Next()
	third := late.Next()
	t.Is("P-105", gap.ID() == stream+".3" && next.ID() == stream+".4" && string(other.Raw) == string(gap.Raw) && string(third.Raw) == string(gap.Raw),
		"%s between .2 and .4, the same for three readers", short(gap.ID()))
	back := t.WS(s.Path+"/ws", after(gap.ID()))
	back.Ready()
	t.Is("P-105", back.Next().Body() == "m3", "%s between .2 and .4, the same for three readers; back after it: m3", short(gap.ID()))
}
