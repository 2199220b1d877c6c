package main

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
)

const (
	wholeText = wsFinal | wsText
	jsonPing  = `{"type":"ping"}`
)

func closing(payload string) string { return wsFrame(wsFinal|wsClose, payload) }

// violations break RFC 6455, or what the contract says beyond it.
var violations = []struct{ name, sent, want string }{
	{"a proper ping, so that the rest means something", wsFrame(wholeText, jsonPing), "pong"},
	{"no mask", "\x81\x0f" + `{"type":"ping"}`, "4400 protocol_error"},
	{"first reserved bit", wsFrame(wholeText|0x40, `{"type":"ping"}`), "4400 protocol_error"},
	{"second reserved bit", wsFrame(wholeText|0x20, `{"type":"ping"}`), "4400 protocol_error"},
	{"third reserved bit", wsFrame(wholeText|0x10, `{"type":"ping"}`), "4400 protocol_error"},
	{"reserved type", wsFrame(wsFinal|0x3, "x"), "4400 protocol_error"},
	{"reserved control type", wsFrame(wsFinal|0xb, "x"), "4400 protocol_error"},
	{"binary", wsFrame(wsFinal|wsBinary, `{"type":"ping"}`), "4400 protocol_error"},
	{"bad UTF-8", wsFrame(wholeText, "{\"type\":\"\xff\xfe\"}"), "4400 protocol_error"},
	{"bad UTF-8 across fragments", wsFrame(wsText, "{\"type\":\"\xe2\x82") + wsFrame(wsFinal|wsContinuation, "\x28\"}"), "4400 protocol_error"},
	{"continuation of nothing", wsFrame(wsFinal|wsContinuation, "x"), "4400 protocol_error"},
	{"a message inside of another", wsFrame(wsText, `{"type":`) + wsFrame(wholeText, jsonPing), "4400 protocol_error"},
	{"control frame in fragments", wsFrame(wsPing, "x"), "4400 protocol_error"},
	{"control frame of 126 bytes", wsFrame(wsFinal|wsPing, strings.Repeat("x", 126)), "4400 protocol_error"},
	{"length below zero", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00x", "4400 protocol_error"},
	{"message of 4 EiB, announced", wsHeader(wholeText, 1<<62) + strings.Repeat("x", 20_000), "1009 frame_too_large"},
	{"message of 17 KiB", wsFrame(wholeText, `{"type":"ping","ref":"`+strings.Repeat("x", 17<<10)+`"}`), "1009 frame_too_large"},
	{"fragments of 17 KiB together", wsFrame(wsText, strings.Repeat(" ", 9<<10)) + wsFrame(wsContinuation, strings.Repeat(" ", 9<<10)), "1009 frame_too_large"},
	{"fragments without end", wsFrame(wsText, " ") + strings.Repeat(wsFrame(wsContinuation, " "), 20_000), "1009 frame_too_large"},
	{"fragments without content", wsFrame(wsText, "") + strings.Repeat(wsFrame(wsContinuation, ""), 20_000) + wsFrame(wsFinal|wsContinuation, ""), "4400 protocol_error"},
	{"pings between fragments", wsFrame(wsText, `{"type"`) + strings.Repeat(wsFrame(wsFinal|wsPing, ""), 500) + wsFrame(wsFinal|wsContinuation, `:"ping"}`), "a frame of type 10"},
	{"close with one byte", closing("\x03"), "4400 protocol_error"},
	{"close with a code that is never sent", closing("\x03\xed"), "4400 protocol_error"},
	{"close with a code below all", closing("\x00\x01"), "4400 protocol_error"},
	{"close with a code above all", closing("\xff\xff"), "4400 protocol_error"},
	{"close with a reason of bad UTF-8", closing("\x03\xe8\xff\xfe"), "4400 protocol_error"},
	{"close with 126 bytes", closing("\x03\xe8" + strings.Repeat("x", 124)), "4400 protocol_error"},
	{"close twice", closing("\x03\xe8") + closing("\x03\xe8"), "1000"},
	{"requests behind a close", closing("\x03\xe8") + strings.Repeat(wsFrame(wholeText, jsonPing), 100), "1000"},
	{"no JSON", wsFrame(wholeText, "hello"), "4400 protocol_error"},
	{"two values", wsFrame(wholeText, `{"type":"ping"}{"type":"ping"}`), "4400 protocol_error"},
	{"nothing", wsFrame(wholeText, ""), "4400 protocol_error"},
	{"a list", wsFrame(wholeText, `[]`), "error invalid_request"},
	{"no type", wsFrame(wholeText, `{}`), "error invalid_request"},
	{"unknown type", wsFrame(wholeText, `{"type":"publish","exchange":"good"}`), "error invalid_request"},
	{"unknown member", wsFrame(wholeText, `{"type":"ping","admin":true}`), "error invalid_request"},
	{"ref that is too long", wsFrame(wholeText, `{"type":"ping","ref":"`+strings.Repeat("x", 129)+`"}`), "error invalid_request"},
	{"ref that is an object", wsFrame(wholeText, `{"type":"ping","ref":{}}`), "error invalid_request"},
	{"token where none is taken", wsFrame(wholeText, `{"type":"auth","token":"a.b.c"}`), "error invalid_request"},
	{"bindings without end", wsFrame(wholeText, `{"type":"bind","bindings":[{"exchange":"orders","routing_key":"a","arguments":{"a":`+strings.Repeat("[", 7000)+strings.Repeat("]", 7000)+`}}]}`), "error invalid_request"},
}

// webSocketCases are the violations, bad handshakes, and too much of what is allowed.
func webSocketCases() []hostileCase {
	rows := violations
	cases := make([]hostileCase, 0, len(rows)+8)
	for _, row := range rows {
		cases = append(cases, hostileCase{name: "websocket: " + row.name, want: row.want, attack: func(h *hostile) string {
			conn, r := h.socket(0, "/v1/ws")
			h.write(conn, row.sent)
			return socketAnswer(r)
		}})
	}
	shake := func(name, want string, change func(header []string) []string) hostileCase {
		return hostileCase{name: "websocket: " + name, want: want, attack: func(h *hostile) string {
			return h.request("GET /v1/ws?exchange=good", "", change(append([]string(nil), upgradeHeader...))...)
		}}
	}
	return append(cases,
		shake("old version", "426 upgrade_required", func(s []string) []string { s[2] = "Sec-WebSocket-Version: 8"; return s }),
		shake("no upgrade", "426 upgrade_required", func([]string) []string { return nil }),
		shake("no key", "400 invalid_request", func(s []string) []string { return s[:3] }),
		shake("short key", "400 invalid_request", func(s []string) []string { s[3] = "Sec-WebSocket-Key: AAAA"; return s }),
		shake("two keys", "400 invalid_request", func(s []string) []string { return append(s, s[3]) }),
		shake("1,000 subprotocols", "ready", func(s []string) []string {
			return append(s, "Sec-WebSocket-Protocol: "+strings.Repeat("x, ", 1000)+"y")
		}),
		shake("extensions that are not spoken", "ready", func(s []string) []string {
			return append(s, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99, x-evil")
		}),
		hostileCase{name: "websocket: cut in the middle of a frame", want: "closed", attack: func(h *hostile) string {
			conn, r := h.socket(0, "/v1/ws")
			h.write(conn, wsHeader(wsFinal|wsText, 1000)+"{")
			_ = conn.(*net.TCPConn).CloseWrite()
			return socketAnswer(r)
		}},
		pingFlood(), requestFlood(), bindFlood(),
	)
}

// pingFlood sends control frames and reads no answer to them until the end.
func pingFlood() hostileCase {
	return hostileCase{name: "websocket: flood of control pings", want: "pong", attack: func(h *hostile) string {
		conn, r := h.socket(0, "/v1/ws")
		go h.write(conn, strings.Repeat(wsFrame(wsFinal|wsPing, "0123456789"), 50_000)+wsFrame(wsFinal|wsText, `{"type":"ping"}`))
		return h.until(r, "pong")
	}}
}

// until reads until one of the answers comes, or the end.
func (h *hostile) until(r *bufio.Reader, answers ...string) string {
	for {
		got := socketAnswer(r)
		if got == "closed" || slices.Contains(answers, got) {
			return got
		}
	}
}

// requestFlood asks faster than a caller may.
func requestFlood() hostileCase {
	return hostileCase{name: "websocket: flood of requests", want: "error rate_limited, pong", attack: func(h *hostile) string {
		const requests = 2000
		conn, r := h.socket(0, "/v1/ws")
		go h.write(conn, strings.Repeat(wsFrame(wsFinal|wsText, `{"type":"ping"}`), requests))
		var got answers
		for range requests {
			got.add(socketAnswer(r))
		}
		if n := got.count("pong"); n > 1000 {
			h.t.Errorf("%d of %d were answered", n, requests)
		}
		return got.String()
	}}
}

// bindFlood binds and unbinds as fast as it can.
func bindFlood() hostileCase {
	return hostileCase{name: "websocket: flood of binds", want: "error limit_reached, error rate_limited, ok", attack: func(h *hostile) string {
		const requests = 1200 // of which 200, and 50 a second, are taken
		conn, r := h.socket(0, "/v1/ws")
		var b strings.Builder
		for i := range requests {
			b.WriteString(wsFrame(wsFinal|wsText, fmt.Sprintf(`{"type":"bind","bindings":[{"exchange":"orders","routing_key":"a.%d"}]}`, i)))
		}
		go h.write(conn, b.String())
		var got answers
		for n := 0; n < requests; {
			switch a := socketAnswer(r); a {
			case "bindings":
			case "closed":
				return a
			default:
				got.add(a)
				n++
			}
		}
		if n := got.count("ok"); n != 64 {
			h.t.Errorf("%d bindings were made, 64 are allowed", n)
		}
		return got.String()
	}}
}
