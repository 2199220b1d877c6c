package transport

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// libraryBuffer is the size of the library's read and write buffers. It writes
// control frames only, of at most 127 bytes, each with one flush: a buffer that
// holds one whole makes each Write of wsConn one frame.
const libraryBuffer = 128

// validKey reports whether a Sec-WebSocket-Key is 16 bytes in base64.
func validKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	return err == nil && len(b) == 16
}

// accept completes the handshake and returns the client's connection, and the
// library's view of it.
func accept(w http.ResponseWriter, r *http.Request) (net.Conn, *wsConn, error) {
	ws := newWSConn()
	lib, err := websocket.Accept(&hijacker{ResponseWriter: w, ws: ws}, r, &websocket.AcceptOptions{
		Subprotocols: []string{Subprotocol},
		// Origins are checked before, where those of all requests are.
		InsecureSkipVerify: true,
		// Frames are encoded once for all readers; compressing them for each
		// would cost more than all the rest, and memory per connection.
		CompressionMode: websocket.CompressionDisabled,
		OnPongReceived:  ws.onPong,
	})
	if err != nil {
		if ws.conn != nil {
			_ = ws.conn.Close()
		}
		return nil, nil, fmt.Errorf("accept a WebSocket: %w", err)
	}
	lib.SetReadLimit(-1) // message has its own, which says bye
	ws.lib = lib
	return ws.conn, ws, nil
}

// hijacker is the ResponseWriter that the library gets: its Hijack answers the
// handshake and returns a connection whose writes the stream's goroutine does,
// with buffers of 128 bytes in place of net/http's 4 KiB each.
type hijacker struct {
	http.ResponseWriter
	ws       *wsConn
	switched bool
}

// WriteHeader keeps the 101 for Hijack; a failed handshake is answered as usual.
func (h *hijacker) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		h.switched = true
		return
	}
	h.ResponseWriter.WriteHeader(status)
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !h.switched {
		return nil, nil, http.ErrHijacked
	}
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	h.ws.conn = conn
	// A client may send its first message with the handshake.
	if n := rw.Reader.Buffered(); n > 0 {
		p, _ := rw.Peek(n)
		h.ws.early = bytes.Clone(p)
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Header().Write(&b)
	b.WriteString("\r\n")
	_ = conn.SetWriteDeadline(time.Now().Add(closeGrace))
	if _, err := conn.Write(b.Bytes()); err != nil {
		return nil, nil, fmt.Errorf("answer the handshake: %w", err)
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return h.ws, bufio.NewReadWriter(bufio.NewReaderSize(h.ws, libraryBuffer), bufio.NewWriterSize(h.ws, libraryBuffer)), nil
}
