package main

import (
	"fmt"
	"strings"
)

// foreignOrigins are none that may use the gateway, however they look.
var foreignOrigins = []struct{ name, origin string }{
	{"null", "null"},
	{"empty", ""},
	{"foreign", "https://evil.example"},
	{"own name as a prefix", "http://HOST.evil.example"},
	{"own name as a user", "http://HOST@evil.example"},
	{"a user at the own name", "http://evil@HOST"},
	{"own name in a path", "https://evil.example/http://HOST"},
	{"own name in a fragment", "https://evil.example#http://HOST"},
	{"own name with a path", "http://HOST/evil"},
	{"own name with a query", "http://HOST?evil"},
	{"own host, another port", "http://127.0.0.1:1"},
	{"own host, no port", "http://127.0.0.1"},
	{"own address in decimal", "http://2130706433:PORT"},
	{"own address in short", "http://127.1:PORT"},
	{"own address in IPv6", "http://[::ffff:127.0.0.1]:PORT"},
	{"own name with a dot behind", "http://localhost.:PORT"},
	{"own name with a suffix", "http://localhost.evil.example:PORT"},
	{"allowed, with http", "http://app.example.org"},
	{"allowed, another port", "https://app.example.org:8443"},
	{"allowed, as a prefix", "https://app.example.org.evil.example"},
	{"allowed, as a suffix", "https://evilapp.example.org"},
	{"allowed, with a dot behind", "https://app.example.org."},
	{"allowed, with a user", "https://app.example.org@evil.example"},
	{"allowed, with a backslash", `https://evil.example\.app.example.org`},
	{"allowed, with a fragment", "https://app.example.org#.evil.example"},
	{"allowed, in punycode", "https://xn--pp-1ka.example.org"},
	{"allowed, in Cyrillic", "https://\u0430pp.example.org"},
	{"allowed, with a space", "https://app.example.org https://evil.example"},
	{"allowed, and another", "https://app.example.org, https://evil.example"},
	{"wildcard's own domain", "https://pages.example.org"},
	{"wildcard without its dot", "https://evilpages.example.org"},
	{"wildcard in the middle", "https://x.pages.example.org.evil.example"},
	{"wildcard, another port", "https://x.pages.example.org:444"},
	{"wildcard with an empty label", "https://.pages.example.org"},
	{"file", "file://"},
	{"extension", "chrome-extension://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
	{"data", "data:text/html,x"},
	{"two", "https://app.example.org\r\nOrigin: https://evil.example"},
	{"folded", "https://app.example.org\r\n .evil.example"},
}

// originCases ask as pages do, each with a REST request, a stream and a WebSocket.
func originCases() []hostileCase {
	rows := foreignOrigins
	cases := make([]hostileCase, 0, len(rows)+8)
	for _, row := range rows {
		cases = append(cases, hostileCase{name: "origin: " + row.name, want: "403 forbidden_origin", attack: func(h *hostile) string {
			return h.asPage("Origin: " + h.fill(row.origin))
		}})
	}
	site := func(name, want, line, body string, header ...string) hostileCase {
		return hostileCase{name: "cross-site: " + name, want: want, attack: func(h *hostile) string { return h.request(line, body, header...) }}
	}
	const cross = "Sec-Fetch-Site: cross-site"
	return append(cases,
		hostileCase{name: "origin: allowed ones are served, so that the rest means something", want: "200, ready", attack: func(h *hostile) string {
			var got answers
			for _, origin := range []string{"https://app.example.org", "https://x.pages.example.org", h.fill("http://HOST"), h.fill("http://localhost:PORT")} {
				got.add(h.asPage("Origin: " + origin))
			}
			return got.String()
		}},
		site("img of a stream", "403 forbidden_origin", "GET /v1/sse?exchange=good", "", cross, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
		site("img of a list", "403 forbidden_origin", "GET /v1/exchanges", "", cross, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
		site("script", "403 forbidden_origin", "GET /warren.js", "", cross, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"),
		site("frame of the inspector", "403 forbidden_origin", "GET /", "", cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
		site("link to a stream", "403 forbidden_origin", "GET /v1/sse?exchange=good", "", cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
		site("form that creates", "403 forbidden_origin", "POST /v1/subscriptions", "a=b", cross, "Sec-Fetch-Mode: navigate", "Content-Type: text/plain"),
		site("form of an old browser", "415 unsupported_media_type", "POST /v1/subscriptions", `{"a":"="}`, "Content-Type: text/plain"),
		site("preflight", "403 forbidden_origin", "OPTIONS /v1/subscriptions", "", "Origin: https://evil.example", "Access-Control-Request-Method: DELETE"),
	)
}

// asPage makes the requests that a page can make, with a header of the page's.
func (h *hostile) asPage(header string) string {
	h.t.Helper()
	var got answers
	got.add(h.request("GET /v1/exchanges", "", header))
	got.add(h.request("GET /v1/sse?exchange=good", "", header, "Accept: text/event-stream"))
	got.add(h.request("GET /v1/ws?exchange=good", "", append([]string{header}, upgradeHeader...)...))
	return got.String()
}

// hostCases are what a page sees whose own name suddenly means this machine.
func hostCases() []hostileCase {
	rows := []struct{ name, host, want string }{
		{"rebound", "evil.example", "421 wrong_host"},
		{"rebound, with the port", "evil.example:PORT", "421 wrong_host"},
		{"public name of loopback", "127.0.0.1.nip.example:PORT", "421 wrong_host"},
		{"localhost as a prefix", "localhost.evil.example:PORT", "421 wrong_host"},
		{"localhost with a dot behind", "localhost.:PORT", "421 wrong_host"},
		{"all addresses", "0.0.0.0:PORT", "421 wrong_host"},
		{"loopback in decimal", "2130706433:PORT", "421 wrong_host"},
		{"loopback's neighbour", "127.0.0.2:PORT", "421 wrong_host"},
		{"empty", "", "421 wrong_host"},
		{"port alone", ":PORT", "421 wrong_host"},
		{"a user", "localhost@evil.example", "400"},
		{"a space", "localhost evil.example", "400"},
		{"two", "localhost\r\nHost: evil.example", "400"},
	}
	cases := make([]hostileCase, 0, len(rows)+4)
	for _, row := range rows {
		cases = append(cases, hostileCase{name: "host: " + row.name, want: row.want, attack: func(h *hostile) string {
			return h.asPage("Host: " + h.fill(row.host))
		}})
	}
	one := func(name, want, text string) hostileCase {
		return hostileCase{name: "host: " + name, want: want, attack: func(h *hostile) string { return h.raw(text) }}
	}
	return append(cases,
		one("none", "400", "GET /v1/exchanges HTTP/1.1\r\n\r\n"),
		one("another in the request line", "421 wrong_host", "GET http://evil.example/v1/exchanges HTTP/1.1\r\nHost: HOST\r\n\r\n"),
		one("another in X-Forwarded-Host", "200", "GET /v1/exchanges HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n\r\n"),
		one("static files", "421 wrong_host", "GET /warren.js HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
	)
}

// smugglingCases are requests that two readers could read differently. Where the
// answer is a bare number it is net/http's own, which never got to a handler.
func smugglingCases() []hostileCase {
	const post, json = "POST /v1/subscriptions HTTP/1.1\r\nHost: HOST\r\n", "Content-Type: application/json\r\n"
	const get = "GET /v1/exchanges HTTP/1.1\r\nHost: HOST\r\n"
	rows := []struct{ name, text, want string }{
		{"two lengths", post + json + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", "400"},
		{"length with a sign", post + json + "Content-Length: +2\r\n\r\n{}", "400"},
		{"length below zero", post + json + "Content-Length: -2\r\n\r\n{}", "400"},
		{"length in hex", post + json + "Content-Length: 0x2\r\n\r\n{}", "400"},
		{"length in a list", post + json + "Content-Length: 2, 3\r\n\r\n{} ", "400"},
		{"unknown transfer encoding", post + json + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501"},
		{"two transfer encodings", post + json + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "501"},
		{"transfer encoding in a list", post + json + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", "501"},
		{"transfer encoding with a tab", post + json + "Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n", "400"},
		{"transfer encoding in HTTP/1.0", strings.Replace(post, "1.1", "1.0", 1) + json + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 invalid_request"},
		{"chunk of impossible size", post + json + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}", "400 invalid_request"},
		{"chunk without a size", post + json + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "400 invalid_request"},
		{"chunk that is longer than it says", post + json + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n", "400 invalid_request"},
		{"space before the colon", get + "Origin : https://app.example.org\r\n\r\n", "400"},
		{"space before the name", "GET /v1/exchanges HTTP/1.1\r\n Host: HOST\r\n\r\n", "400"},
		{"no colon", get + "Origin\r\n\r\n", "400"},
		{"no name", get + ": x\r\n\r\n", "400"},
		{"NUL in a value", get + "X-A: a\x00b\r\n\r\n", "400"},
		{"NUL in a name", get + "X\x00A: a\r\n\r\n", "400"},
		{"CR in a value", get + "X-A: a\rOrigin: https://app.example.org\r\n\r\n", "400"},
		{"folded length", post + json + "Content-Length:\r\n 2\r\n\r\n{}", "201"},
		{"LF alone, which is what RFC 9112 lets a server take", "GET /v1/exchanges HTTP/1.1\nHost: HOST\n\n", "200"},
		{"two spaces in the request line", "GET  /v1/exchanges HTTP/1.1\r\nHost: HOST\r\n\r\n", "400"},
		{"NUL in the request line", "GET /v1/exchanges\x00 HTTP/1.1\r\nHost: HOST\r\n\r\n", "400"},
		{"no version", "GET /v1/exchanges\r\n\r\n", "400"},
		{"HTTP/2 that was not agreed on", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "421 wrong_host"},
		{"HTTP/3", "GET / HTTP/3.0\r\nHost: HOST\r\n\r\n", "505"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		{"tunnel", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", "421 wrong_host"},
		{"tunnel to ourselves", "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n", "405 method_not_allowed"},
		{"trace", strings.Replace(get, "GET", "TRACE", 1) + "\r\n", "405 method_not_allowed"},
		{"method of its own", strings.Replace(get, "GET", "EVIL", 1) + "\r\n", "405 method_not_allowed"},
		{"method of 4,000 letters", strings.Replace(get, "GET", strings.Repeat("G", 4000), 1) + "\r\n", "405 method_not_allowed"},
		{"upgrade to HTTP/2 in clear", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n", "200"},
		{"compressed body", post + json + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", "415 unsupported_media_type"},
	}
	cases := make([]hostileCase, 0, len(rows)+1)
	for _, row := range rows {
		cases = append(cases, hostileCase{name: "smuggling: " + row.name, want: row.want, attack: func(h *hostile) string { return h.raw(row.text) }})
	}
	return append(cases, hostileCase{
		// RFC 9112, section 6.3: the length does not count, and nothing that follows is another request.
		name: "smuggling: length and transfer encoding", want: "400 invalid_request, closed", attack: func(h *hostile) string {
			conn := h.dial(0)
			text := post + json + "Content-Length: 120\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get + "\r\n"
			h.write(conn, h.fill(text))
			first := answerOf(conn)
			return first + ", " + answerOf(conn)
		},
	})
}

func manyExchanges(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "exchange=e%d&", i)
	}
	return b.String()
}

// oversizedCases are too much of everything.
func oversizedCases() []hostileCase {
	const create, stream = "POST /v1/subscriptions", "GET /v1/sse?exchange=good"
	long := func(n int) string { return strings.Repeat("k", n) }
	many := func(n int) string {
		list := make([]binding, n)
		for i := range list {
			list[i] = binding{"orders", fmt.Sprint("k", i)}
		}
		return bindingsJSON(list...)
	}
	deep := strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000)
	rows := []struct {
		name, line, body, want string
		header                 []string
	}{
		{name: "body", line: create, body: `{"payload":"` + long(64<<10) + `"}`, want: "413 body_too_large"},
		{name: "body that is only announced", line: create, want: "413 body_too_large", header: []string{"Content-Type: application/json", "Content-Length: 99999999999"}},
		{name: "body that waits to be asked for", line: create, want: "413 body_too_large", header: []string{"Content-Type: application/json", "Content-Length: 99999999", "Expect: 100-continue"}},
		{name: "body without end", line: create, body: "", want: "413 body_too_large", header: []string{"Content-Type: application/json", "Transfer-Encoding: chunked", "\r\n10000\r\n" + long(0x10000) + "\r\n10000\r\n" + long(0x10000)}},
		{name: "header", line: "GET /v1/exchanges", want: "431", header: []string{"X-A: " + long(40<<10)}},
		{name: "number of headers", line: "GET /v1/exchanges", want: "431", header: []string{strings.Repeat("X-A: b\r\n", 6000) + "X-A: b"}},
		{name: "header name", line: "GET /v1/exchanges", want: "431", header: []string{long(40<<10) + ": a"}},
		{name: "request line", line: "GET /v1/exchanges?" + long(40<<10), want: "431"},
		{name: "path", line: "GET /" + long(8<<10), want: "404 not_found"},
		{name: "path of 4,000 parts", line: "GET /" + strings.Repeat("a/", 4000), want: "404 not_found"},
		{name: "cookies", line: "GET /v1/exchanges", want: "200", header: []string{"Cookie: " + strings.Repeat("a=b; ", 3500)}},
		{name: "query with 2,000 parameters", line: "GET /v1/sse?" + manyExchanges(2000), want: "400 invalid_request"},
		{name: "query with 2,000 names", line: stream + strings.Repeat("&a=b", 2000), want: "400 invalid_request"},
		{name: "routing key", line: create, body: `{"bindings":[{"exchange":"orders","routing_key":"` + long(256) + `"}]}`, want: "400 invalid_request"},
		{name: "routing key in the query", line: stream + "&routing_key=" + long(256), want: "400 invalid_request"},
		{name: "exchange", line: create, body: `{"bindings":[{"exchange":"` + long(256) + `","routing_key":"a"}]}`, want: "400 invalid_request"},
		{name: "bindings", line: create, body: `{"bindings":` + many(65) + `}`, want: "400 invalid_request"},
		{name: "bindings that are the same", line: create, body: `{"bindings":[` + strings.Repeat(`{"exchange":"orders","routing_key":"a"},`, 1600) + `{"exchange":"orders","routing_key":"a"}]}`, want: "201"},
		{name: "depth of JSON", line: create, body: `{"bindings":[{"exchange":"orders","routing_key":"a","arguments":{"a":` + deep + `}}]}`, want: "400 invalid_request"},
		{name: "depth of JSON in the query", line: "GET /v1/sse?bindings=" + deep[:12_000] + deep[48_000:], want: "400 invalid_request"},
		{name: "depth of JSON that never ends", line: create, body: strings.Repeat(`{"a":`, 12_000), want: "400 invalid_request"},
		{name: "names of JSON", line: create, body: `{"` + long(60_000) + `":1}`, want: "400 invalid_request"},
		{name: "number", line: create, body: `{"linger_seconds":1e999999}`, want: "400 invalid_request"},
		{name: "number of 60,000 digits", line: create, body: `{"linger_seconds":` + strings.Repeat("9", 60_000) + `}`, want: "400 invalid_request"},
		{name: "linger", line: create, body: `{"linger_seconds":86400}`, want: "400 invalid_request"},
		{name: "last", line: stream + "&last=99999999999999999999", want: "400 invalid_request"},
		{name: "after", line: stream + "&after=" + long(200) + ".1", want: "400 invalid_position"},
		{name: "Last-Event-ID, which is never an error", line: stream, want: "ready", header: []string{"Last-Event-ID: " + long(20_000)}},
		{name: "offset of a position", line: stream + "&after=a.99999999999999999999999", want: "400 invalid_position"},
	}
	cases := make([]hostileCase, 0, len(rows)+1)
	for _, row := range rows {
		cases = append(cases, hostileCase{name: "oversized: " + row.name, want: row.want, attack: func(h *hostile) string { return h.request(row.line, row.body, row.header...) }})
	}
	return append(cases, hostileCase{name: "oversized: bindings, by a second call", want: "429 limit_reached", attack: func(h *hostile) string {
		var s subscription
		if status := request(h.t, "POST", h.gateway.URL+"/v1/subscriptions", `{"linger_seconds":5,"bindings":`+many(64)+`}`, &s); status != 201 {
			h.t.Fatalf("create answers %d", status)
		}
		return h.request("POST "+s.Links.Self+"/bindings", `{"bindings":`+bindingsJSON(binding{"orders", "one more"})+`}`)
	}})
}
