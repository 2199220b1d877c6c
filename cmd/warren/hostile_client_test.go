package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// answerWithin is how long an attacker waits for an answer; longer than
// whatever the gateway allows itself.
const answerWithin = 25 * time.Second

// raw sends bytes on a new connection and returns what they are answered.
func (h *hostile) raw(text string) string {
	h.t.Helper()
	conn := h.dial(0)
	defer func() { _ = conn.Close() }()
	h.write(conn, h.fill(text))
	return answerOf(conn)
}

// request is one HTTP request; header lines are as they go on the wire.
func (h *hostile) request(line, body string, header ...string) string {
	h.t.Helper()
	return h.raw(requestText(line, body, header...))
}

// write sends all of it while somebody else may read; what the gateway refuses
// to read, or has closed by then, need not arrive.
func (h *hostile) write(conn net.Conn, text string) {
	_ = conn.SetWriteDeadline(time.Now().Add(answerWithin))
	_, _ = io.WriteString(conn, text)
}

// placeholder is not in the middle of a token, where chance can spell it.
var placeholder = regexp.MustCompile(`\b(HOST|PORT)\b`)

// fill puts the gateway's address in place of HOST and PORT.
func (h *hostile) fill(text string) string {
	host := h.target()
	return placeholder.ReplaceAllStringFunc(text, func(word string) string {
		if word == "HOST" {
			return host
		}
		return host[strings.LastIndexByte(host, ':')+1:]
	})
}

// requestText writes a request; "HOST" is the gateway's.
func requestText(line, body string, header ...string) string {
	var b strings.Builder
	b.WriteString(line + " HTTP/1.1\r\n")
	if !hasHeader(header, "Host") {
		b.WriteString("Host: HOST\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
		if !hasHeader(header, "Content-Type") {
			b.WriteString("Content-Type: application/json\r\n")
		}
	}
	for _, line := range header {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

func hasHeader(header []string, name string) bool {
	for _, line := range header {
		if strings.HasPrefix(line, name+":") {
			return true
		}
	}
	return false
}

// upgradeHeader is what makes a request a WebSocket handshake.
var upgradeHeader = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// answerOf reads one answer and puts it into words: "403 forbidden_origin" for a
// problem, "4401 unauthorized" for a WebSocket that is closed, "200 bye
// rate_limited" for a stream that is refused, "ready" for one that is open,
// "201" for any other status, "closed" for none.
func answerOf(conn net.Conn) string {
	_ = conn.SetReadDeadline(time.Now().Add(answerWithin))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "no answer"
		}
		return "closed"
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return socketAnswer(r)
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"):
		return streamAnswer(resp)
	case resp.Header.Get("Content-Type") == "application/problem+json":
		var problem struct {
			Code       string
			Status     int
			RetryAfter int `json:"retry_after_seconds"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || problem.Status != resp.StatusCode {
			return fmt.Sprintf("%d with a broken document (%v)", resp.StatusCode, err)
		}
		if problem.Code == "rate_limited" && (problem.RetryAfter == 0 || resp.Header.Get("Retry-After") == "") {
			return fmt.Sprintf("%d %s without a time to come back", resp.StatusCode, problem.Code)
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, problem.Code)
	}
	return fmt.Sprint(resp.StatusCode)
}

// streamAnswer reads the first frame of an event stream.
func streamAnswer(resp *http.Response) string {
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok {
			return frameAnswer(data)
		}
	}
	return "an empty stream"
}

func frameAnswer(frame []byte) string {
	var f struct {
		Type, Reason string
		Problem      struct{ Code string }
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		return "a broken frame"
	}
	switch f.Type {
	case "bye":
		return "bye " + f.Reason
	case "error":
		return "error " + f.Problem.Code
	}
	return f.Type
}

// socketAnswer reads the next frame of a WebSocket that is no control ping, or its end.
func socketAnswer(r *bufio.Reader) string {
	op, payload, err := readWSFrame(r)
	for err == nil && op == wsPing {
		op, payload, err = readWSFrame(r)
	}
	if err != nil {
		return "closed"
	}
	if op == wsClose {
		return closeAnswer(payload)
	}
	if op != wsText {
		return fmt.Sprintf("a frame of type %d", op)
	}
	if !bytes.HasPrefix(payload, []byte(`{"type":"bye"`)) {
		return frameAnswer(payload)
	}
	return socketEnd(r)
}

// socketEnd reads to the close frame and returns its code and reason.
func socketEnd(r *bufio.Reader) string {
	for {
		op, payload, err := readWSFrame(r)
		switch {
		case err != nil:
			return "closed"
		case op == wsClose:
			return closeAnswer(payload)
		}
	}
}

func closeAnswer(payload []byte) string {
	if len(payload) < 2 {
		return "close without a code"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", binary.BigEndian.Uint16(payload), payload[2:]))
}

// The types of WebSocket frames.
const (
	wsContinuation = 0x0
	wsText         = 0x1
	wsBinary       = 0x2
	wsClose        = 0x8
	wsPing         = 0x9
	wsPong         = 0xa

	wsFinal  = 0x80
	wsMasked = 0x80
)

// readWSFrame reads one frame of the server's.
func readWSFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1] & 0x7f)
	switch size {
	case 126:
		var ext [2]byte
		_, err = io.ReadFull(r, ext[:])
		size = uint64(binary.BigEndian.Uint16(ext[:]))
	case 127:
		var ext [8]byte
		_, err = io.ReadFull(r, ext[:])
		size = binary.BigEndian.Uint64(ext[:])
	}
	if err != nil || size > 1<<24 {
		return 0, nil, errors.Join(err, errors.New("a frame that cannot be read"))
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0xf, payload, err
}

// wsFrame writes one frame of a client's. first is the first byte: flags and type.
func wsFrame(first byte, payload string) string {
	return wsHeader(first, len(payload)) + payload
}

// wsHeader announces a payload of the size, masked with zeros, so that the
// payload is what it is.
func wsHeader(first byte, size int) string {
	b := []byte{first}
	switch {
	case size < 126:
		b = append(b, wsMasked|byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, wsMasked|126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, wsMasked|127), uint64(size))
	}
	return string(append(b, 0, 0, 0, 0))
}

// socket opens a WebSocket and reads its first frame, which must be ready.
func (h *hostile) socket(i int, path string, header ...string) (net.Conn, *bufio.Reader) {
	h.t.Helper()
	conn := h.dial(i)
	h.write(conn, h.fill(requestText("GET "+path, "", append(header, upgradeHeader...)...)))
	_ = conn.SetReadDeadline(time.Now().Add(answerWithin))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		h.t.Errorf("%s: %v", path, err)
		return conn, r
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		h.t.Errorf("%s is answered %d", path, resp.StatusCode)
		return conn, r
	}
	if got := socketAnswer(r); got != "ready" {
		h.t.Errorf("%s begins with %s", path, got)
	}
	return conn, r
}
