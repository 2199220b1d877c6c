package readers

import (
	"math"
	"slices"
	"strings"

	"github.com/warren-gateway/warren/broker"
)

// maxBody is the default of --max-message-bytes.
const maxBody = 1 << 20

// message is one of the corpus.
type message struct {
	name       string
	key        string
	properties broker.Properties
	body       []byte
	headers    string // JSON of the headers that must arrive; "" if it does not matter
}

func text(name, body string) message { return message{name: name, key: "k", body: []byte(body)} }

func typed(name, contentType, body string) message {
	m := text(name, body)
	m.properties.ContentType = contentType
	return m
}

// corpus returns the messages.
func corpus() []message {
	return slices.Concat(texts(), binaries(), documents(), envelopes(), larges(), []message{text("the last", "end")})
}

// texts are valid UTF-8 that a stream of lines could stumble over.
func texts() []message {
	control := make([]byte, 32)
	for i := range control {
		control[i] = byte(i)
	}
	return []message{
		text("empty", ""),
		text("one line break", "\n"),
		text("carriage return", "\r"),
		text("all kinds of line breaks", "a\nb\rc\r\nd\n\ne\r\r\n\u0085f\u2028g\u2029h"),
		text("lines that look like a stream", "\n\nevent: bye\nid: 7\nretry: 1\ndata: {}\n\n: comment\n"),
		text("lines that end a chunk", "\r\n0\r\n\r\n"),
		text("leading and trailing blanks", "  \t x \t  "),
		text("a leading colon", ": comment"),
		text("NUL", "\x00a\x00"),
		text("control characters", string(control)+"\x7f\u0080\u009f"),
		text("byte order mark", "\ufeffdata"),
		text("a byte order mark alone", "\ufeff"),
		text("quotes and backslashes", `"\"\\\/\b\u0041</script>`),
		text("emoji and combining", "e\u0301 👩‍👩‍👧 𝔘𝔫𝔦\U0010FFFF\uffff\ufffe"),
		text("right to left", "\u202eabc\u202c\u200f"),
		text("replacement character", "\ufffd"),
	}
}

// binaries are not valid UTF-8.
func binaries() []message {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return []message{
		text("all bytes", string(all)),
		text("cut UTF-8", "abc\xe2\x82"),
		text("overlong UTF-8", "\xc0\xaf\xe0\x80\xaf"),
		text("a surrogate in UTF-8", "\xed\xa0\x80"),
		text("above U+10FFFF", "\xf4\x90\x80\x80"),
		text("Latin-1", "gr\xfc\xdfe"),
	}
}

// documents are JSON, or claim to be.
func documents() []message {
	nest := func(n int) string { return strings.Repeat(`[{"a":`, n) + "1" + strings.Repeat("}]", n) }
	return []message{
		typed("JSON with line breaks", "application/json", "{\r\n\t\"a\" : [ 1 ,\n2 ] ,\r \"b\":\"\\n\"}\n"),
		typed("JSON with line separators", "application/json", "\"\u2028\u2029\\u2028\""),
		typed("JSON with escapes", "application/json", `"\u0000\u001f\ud83d\ude00\/\\\""`),
		typed("JSON with half a surrogate pair", "application/json", `["\ud800","\udc00x"]`),
		typed("JSON with names twice", "application/json", `{"a":1,"a":2,"":0,"__proto__":{"x":1}}`),
		typed("JSON numbers", "application/json", `[0,-0,1e3,1E-7,0.1,123456789.125,9007199254740991,-1.5e300]`),
		typed("JSON of each kind", "application/json", `[null,true,false,"",{},[]]`),
		typed("a JSON scalar", "application/json", ` "x" `),
		typed("JSON by another name", "application/problem+json; charset=utf-8", `{"a":"ü"}`),
		text("JSON without content type", `{"plain":[1,2]}`),
		typed("JSON as text", "text/plain", `{"a":1}`),
		typed("JSON that is none", "application/json", `{"a":1,}`),
		typed("JSON with a byte order mark", "application/json", "\ufeff{}"),
		typed("JSON that is not UTF-8", "application/json", "{\"a\":\"\xff\"}"),
		typed("two JSON values", "application/json", `{}{}`),
		typed("deep JSON", "application/json", nest(32)),
		typed("too deep JSON", "application/json", nest(33)),
		typed("far too deep JSON", "application/json", strings.Repeat("[", 20000)+strings.Repeat("]", 20000)),
	}
}

// envelopes have keys, properties and headers that could break a frame.
func envelopes() []message {
	return []message{
		{name: "a key with line breaks", key: "a\r\nid: 1\n\n.b", body: []byte("x")},
		{name: "a key that is not UTF-8", key: "a.\xff.b", body: []byte("x")},
		{name: "an empty key", key: "", body: []byte("x")},
		{name: "a long key", key: strings.Repeat("ü", 127), body: []byte("x")},
		{name: "milliseconds", key: "k", properties: broker.Properties{Timestamp: 1773480413123, HasTimestamp: true}, body: []byte("x")},
		{name: "properties with line breaks", key: "k", properties: broker.Properties{
			ContentEncoding: "\n\n", CorrelationID: "\r\nid: 2\n", ReplyTo: "\u2028", Expiration: "60000", MessageID: "\x00", Type: ": t", AppID: "\ufeff",
			DeliveryMode: 2, Priority: 9,
		}, body: []byte("x")},
		{name: "header tables", key: "k", properties: broker.Properties{Headers: table()}, body: []byte("x"), headers: tableJSON},
	}
}

// larges are as large as they may be.
func larges() []message {
	large := func(name string, unit string) message { return text(name, strings.Repeat(unit, maxBody/len(unit))) }
	return []message{
		large("1 MiB on one line", "x"), large("1 MiB of line breaks", "\n"), large("1 MiB of bytes", "\xff\x00"),
		typed("almost 1 MiB of JSON", "application/json", "["+strings.Repeat("1,\n", maxBody/3-2)+"1]"),
	}
}

// table has what header tables can hold in both sources, and nests.
func table() broker.Table {
	return broker.Table{
		"null": nil, "bool": true, "int": int64(-5), "big": int64(math.MaxInt64), "double": 1.5, "text": "a\r\n\u2028b", "not utf-8": "\xff",
		"bytes": []byte{0, 255}, "decimal": broker.Decimal{Scale: 2, Value: -12345}, "": "no name", "name\nwith\rbreaks": int64(1),
		"table": broker.Table{"list": []any{int64(1), "two", nil, broker.Table{"deep": broker.Table{"er": []any{[]any{}}}}}},
	}
}

const tableJSON = `{"null":null,"bool":true,"int":-5,"big":9223372036854775807,"double":1.5,"text":"a\r\n\u2028b","not utf-8":{"base64":"/w=="},
	"bytes":{"base64":"AP8="},"decimal":"-123.45","":"no name","name\nwith\rbreaks":1,
	"table":{"list":[1,"two",null,{"deep":{"er":[[]]}}]}}`
