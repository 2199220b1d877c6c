package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/warren-gateway/warren/broker"
)

// refusedProperly fails unless err is a refusal that a client can be told.
func refusedProperly(t *testing.T, err error) {
	t.Helper()
	var e *broker.Error
	if !errors.As(err, &e) || Status(e.Code) != 400 || e.Detail == "" || !utf8.ValidString(e.Field) || len(e.Field) > 80 {
		t.Errorf("refused with %#v", err)
	}
}

func FuzzBindings(f *testing.F) {
	for _, seed := range []string{
		`[]`, `[{"exchange":"a","routing_key":"b"}]`, `[{"exchange":"a","routing_key":"b","arguments":{"x":[1,1.5,[null]]}}]`, `[{"exchange":"a","routing_key":"b","arguments":{"x":[{"y":null}]}}]`,
		`[{"exchange":"a","routing_key":"\ud800"}]`, `[{"exchange":""}]`, `{}`, `[[]]`, `[{"exchange":"a","exchange":"b"}]`, "[\"\xff\"]", `[1e999]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := validJSON(raw); err != nil {
			refusedProperly(t, err)
			return
		}
		body, err := parseObject(append(append([]byte(`{"bindings":`), raw...), '}'), "bindings")
		if err != nil {
			refusedProperly(t, err)
			return
		}
		list, err := parseBindings(body["bindings"], 64)
		if err != nil {
			refusedProperly(t, err)
			return
		}
		if len(list.list) != len(list.index) || len(list.list) > 64 {
			t.Errorf("%d bindings, %d indexes", len(list.list), len(list.index))
		}
		for _, b := range list.list {
			if b.Exchange() == "" || len(b.RoutingKey()) > 255 || !utf8.ValidString(b.RoutingKey()) {
				t.Errorf("binding %q %q", b.Exchange(), b.RoutingKey())
			}
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"type":"topic","durable":true}`, `{"routing_key":"a","payload":"b","properties":{"headers":{"a":[{}]},"timestamp":1e3}}`,
		`{"a":1}{"b":2}`, `{"linger_seconds":3e1}`, `{"properties":{"priority":256}}`, `null`, ` `, `{"":""}`,
		`{"\ud800":1}`, `{"a":1 , "\udc00\ud800":""}`, `{"\ud83d\ude00":"\ud83d\ude00 \ufffd"}`, "{\"a\":\"\\\\ud800 \uFFFD\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := parseObject(raw)
		if err != nil {
			refusedProperly(t, err)
			return
		}
		for name := range body {
			if _, err := body.string(name); err != nil {
				refusedProperly(t, invalid(printable(name), err.Error()))
			}
			if n, err := body.int(name, 1, 600); err == nil && (n < 1 || n > 600) {
				t.Errorf("int %d", n)
			}
		}
		if body.has("properties") {
			if _, err := parseProperties(body["properties"]); err != nil {
				refusedProperly(t, err)
			}
		}
		if err := onlyPlain(body); err != nil {
			refusedProperly(t, err)
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"exchange=a", "exchange=a&routing_key=b&exchange=c&routing_key=%23", "bindings=%5B%5D&share=false&linger_seconds=5", "after=x.1&last=2",
		"from=unread", "exchange=a;b", "%zz", "exchange=%ff", "last=%2B1", "share=false&from=unread&payload=raw", "routing_key=a", "access_token=",
	} {
		f.Add(seed, "s.1")
	}
	f.Fuzz(func(t *testing.T, raw, id string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/sse", nil)
		r.URL = &url.URL{Path: "/v1/sse", RawQuery: raw}
		r.Header["Last-Event-Id"] = []string{id}
		q, err := parseQuery(r, wantParameters)
		if err != nil {
			refusedProperly(t, err)
			return
		}
		list, err := q.bindings(64)
		if err != nil {
			refusedProperly(t, err)
			return
		}
		if !q.has("bindings") && len(list.list) > len(q.values["exchange"]) {
			t.Errorf("%d bindings of %d exchanges", len(list.list), len(q.values["exchange"]))
		}
		p, err := q.place(r)
		if err != nil {
			refusedProperly(t, err)
			return
		}
		if p.given != (id != "" || q.has("after")) || p.last < 0 {
			t.Errorf("place %+v", p)
		}
	})
}

// FuzzOrigin presents origins to a gateway that allows few: what it allows is
// one of them, to the letter but for case.
func FuzzOrigin(f *testing.F) {
	o, err := newOrigins("127.0.0.1:8080", "", "", []string{"https://app.example.org", "https://*.pages.example.org"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"null", "http://127.0.0.1:8080", "http://localhost:8080", "https://app.example.org", "https://app.example.org:443", "https://a.pages.example.org",
		"https://app.example.org.evil", "https://x@app.example.org", "http://[::1]:8080", "https://.pages.example.org", "HTTPS://APP.example.org", "https://a/.pages.example.org",
	} {
		f.Add(seed)
	}
	allowed := regexp.MustCompile(`(?i)^(https?://(127\.0\.0\.1|localhost|\[::1\]):8080|https://app\.example\.org(:443)?|https://[^/?#@\\ ]+\.pages\.example\.org(:443)?)$`)
	f.Fuzz(func(t *testing.T, origin string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/sse", nil)
		r.Host = "127.0.0.1:8080"
		if o.allows(r, origin) && !allowed.MatchString(origin) {
			t.Errorf("%q is allowed", origin)
		}
	})
}

// FuzzDepth compares with encoding/json how deep JSON nests.
func FuzzDepth(f *testing.F) {
	for _, seed := range []string{`[]`, `{"a":[{"b":1}]}`, `"[[["`, `"\"["`, `"\\"`, `[{"]":"}"}]`} {
		f.Add([]byte(seed), 2)
	}
	f.Fuzz(func(t *testing.T, raw []byte, levels int) {
		if !json.Valid(raw) || levels < 0 {
			return
		}
		depth, most := 0, 0
		for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
			token, err := dec.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('['), json.Delim('{'):
				depth++
				most = max(most, depth)
			case json.Delim(']'), json.Delim('}'):
				depth--
			}
		}
		if got := deeper(raw, levels); got != (most > levels) {
			t.Errorf("%q nests %d levels, deeper than %d: %v", raw, most, levels, got)
		}
	})
}

// FuzzHalfPair writes UTF-16 as JSON as escapes and as it is, and wants what its units say: only
// an escape can be half of a pair, and nothing else may look like one.
func FuzzHalfPair(f *testing.F) {
	for _, seed := range []string{"\xd8\x00", "\xd8\x3d\xde\x00\xff\xfd", "\xdc\x00\xd8\x00", "\x00\\\x00u\x00d\x008\x000\x000", "\xd8\x00\xd8\x00\xdc\x00"} {
		f.Add([]byte(seed), uint64(0))
		f.Add([]byte(seed), uint64(0x123456789abcdef))
	}
	f.Fuzz(func(t *testing.T, raw []byte, ways uint64) {
		var units []uint16
		for i := 0; i+1 < len(raw); i += 2 {
			units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
		}
		text := jsonOf(units, ways)
		want := !slices.Equal(utf16.Encode(utf16.Decode(units)), units)
		s, err := decodeString("x", []byte(text))
		if (err != nil) != want || err == nil && s != string(utf16.Decode(units)) {
			t.Errorf("%s is %q (%v), half a pair: %v", text, s, err, want)
		}
		if len(units) == 0 {
			return
		}
		body, err := parseObject([]byte(`{"":"\ud800" , ` + text + ` : 1}`))
		if (err != nil) != want || err == nil && !body.has(s) {
			t.Errorf("%s as a name: %q (%v), half a pair: %v", text, body, err, want)
		}
	})
}

// jsonOf writes a JSON string, each unit as two bits of ways say.
func jsonOf(units []uint16, ways uint64) string {
	var sb strings.Builder
	sb.WriteByte('"')
	for i, unit := range units {
		switch way := bits.RotateLeft64(ways, 2*i) & 3; {
		case way == 0:
			fmt.Fprintf(&sb, `\u%04x`, unit)
		case way == 1 || unit < ' ' || utf16.IsSurrogate(rune(unit)):
			fmt.Fprintf(&sb, `\u%04X`, unit)
		case unit == '"' || unit == '\\':
			sb.WriteByte('\\')
			fallthrough
		default:
			sb.WriteRune(rune(unit))
		}
	}
	sb.WriteByte('"')
	return sb.String()
}
