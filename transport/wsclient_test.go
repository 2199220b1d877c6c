package transport_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// socket is a WebSocket client that another library than ours would be, too: it
// speaks RFC 6455 by hand, so that it can break every rule of it.
type socket struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

const wsKey = "dGhlIHNhbXBsZSBub25jZQ=="

// socket opens a WebSocket and checks the handshake.
func (g *gateway) socket(target string, first ...[]byte) *socket {
	g.t.Helper()
	conn := g.dial()
	request := "GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + wsKey + "\r\nSec-WebSocket-Protocol: other, warren.v1\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
	p := []byte(request)
	for _, f := range first { // in the same segment as the handshake
		p = append(p, f...)
	}
	if _, err := conn.Write(p); err != nil {
		g.t.Fatal(err)
	}
	s := &socket{t: g.t, conn: conn, r: bufio.NewReader(conn)}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
		resp.Header.Get("Sec-WebSocket-Protocol") != "warren.v1" || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
		g.t.Fatalf("handshake answered with %d %v", resp.StatusCode, resp.Header)
	}
	return s
}

// frame is a client's frame: masked, with the first byte as given.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func (s *socket) write(p []byte) {
	s.t.Helper()
	if _, err := s.conn.Write(p); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends a text message.
func (s *socket) ask(text string) {
	s.t.Helper()
	s.write(frame(0x81, text))
}

// read reads the next frame.
func (s *socket) read() (first byte, payload string, err error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	var head [2]byte
	if _, err = io.ReadFull(s.r, head[:]); err != nil {
		return 0, "", err
	}
	n := uint64(head[1]) // a mask bit would make it too long
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(s.r, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(s.r, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	if err != nil {
		return 0, "", err
	}
	p := make([]byte, n)
	_, err = io.ReadFull(s.r, p)
	return head[0], string(p), err
}

// text reads the next text message, over control frames.
func (s *socket) text() string {
	s.t.Helper()
	for {
		first, payload, err := s.read()
		switch {
		case err != nil:
			s.t.Fatalf("read a message: %v", err)
		case first == 0x81:
			return payload
		case first&0xf < 8:
			s.t.Fatalf("got frame %x %q", first, payload)
		}
	}
}

// next reads the next message of one of the types.
func (s *socket) next(types ...string) string {
	s.t.Helper()
	for {
		text := s.text()
		var f struct{ Type string }
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			s.t.Fatalf("%q is no JSON: %v", text, err)
		}
		if slices.Contains(types, f.Type) {
			return text
		}
	}
}

// bye checks that the stream ends with a bye, a close frame and the end of the connection.
func (s *socket) bye(code int, reason string) {
	s.t.Helper()
	text := s.next("bye")
	if !strings.HasPrefix(text, fmt.Sprintf(`{"type":"bye","code":%d,"reason":"%s","reconnect":`, code, reason)) {
		s.t.Errorf("bye is %s, want %d %s", text, code, reason)
	}
	first, payload, err := s.read()
	if err != nil || first != 0x88 || int(binary.BigEndian.Uint16([]byte(payload))) != code || payload[2:] != reason {
		s.t.Errorf("closed with %x %q %v, want %d %s", first, payload, err, code, reason)
	}
	s.write(frame(0x88, payload[:2]))
	if _, _, err := s.read(); !errors.Is(err, io.EOF) {
		s.t.Errorf("after the close frame came %v", err)
	}
}
