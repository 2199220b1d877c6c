package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The protocols of streams.
const (
	SSE   = "sse"
	WS    = "ws"
	STOMP = "stomp" // over WebSocket
	MQTT  = "mqtt"  // over WebSocket
)

// Target says how a reader gets a stream.
type Target struct {
	Kind  string `json:"kind"`  // one of the protocols
	Addr  string `json:"addr"`  // IPv4 address and port
	Path  string `json:"path"`  // and query
	Ready string `json:"ready"` // text by which the server says that messages come from now on; empty: the head of the answer
	Topic string `json:"topic"` // STOMP destination or MQTT topic
	// First is the path of a request that is made before on the same connection; empty: none. Nginx sets TCP_NODELAY on a connection
	// only when it keeps it after a first answer.
	First string `json:"first"`
}

const (
	// helloTimeout bounds how long a server may take to answer one of many that connect at once.
	helloTimeout = 30 * time.Second
	// maxHello bounds what a server says before a stream is ready, in bytes.
	maxHello = 64 << 10
	// perAddress is how many connections come from one local address, so that local ports suffice.
	perAddress = 10_000
)

// dial connects the i-th stream, from a loopback address that depends on i, and waits until it is ready. It answers the
// socket and what came after the hello.
func dial(ctx context.Context, t Target, i int) (fd int, rest []byte, err error) {
	fd, err = connect(t.Addr, i)
	if err != nil {
		return -1, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = unix.Shutdown(fd, unix.SHUT_RDWR) })
	defer stop()
	h := &hello{fd: fd}
	if err := h.open(t); err != nil {
		_ = unix.Close(fd)
		return -1, nil, fmt.Errorf("stream %d of %s%s: %w (got %q)", i, t.Addr, t.Path, err, h.got[:min(len(h.got), 400)])
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, nil, err
	}
	return fd, h.got, nil
}

func connect(addr string, i int) (int, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	timeout := unix.NsecToTimeval(helloTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + i/perAddress)}}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
	)
	if err == nil {
		err = establish(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	return fd, nil
}

// establish connects. A connect that a signal interrupts goes on by itself; its end is then waited for.
func establish(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if !errors.Is(err, unix.EINTR) {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Poll(poll, int(helloTimeout.Milliseconds()))
	}
	if err != nil {
		return err
	}
	failed, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if failed != 0 {
		return unix.Errno(failed)
	}
	return nil
}

// hello is the opening conversation of a stream.
type hello struct {
	fd  int
	got []byte // read and not yet used
}

func (h *hello) open(t Target) error {
	if t.First != "" {
		if err := h.first(t); err != nil {
			return err
		}
	}
	if err := h.send(requestHead(t)); err != nil {
		return err
	}
	head, err := h.until("\r\n\r\n")
	if err != nil {
		return err
	}
	want := "HTTP/1.1 101"
	if t.Kind == SSE {
		want = "HTTP/1.1 200"
	}
	if !bytes.HasPrefix(head, []byte(want)) {
		return fmt.Errorf("refused: %s", head)
	}
	switch t.Kind {
	case STOMP:
		return h.stomp(t.Topic)
	case MQTT:
		return h.mqtt(t.Topic)
	}
	if t.Ready != "" {
		_, err = h.until(t.Ready)
	}
	return err
}

// first makes the request that comes before. Its answer may have any status, and has no body since the method is HEAD.
func (h *hello) first(t Target) error {
	if err := h.send("HEAD " + t.First + " HTTP/1.1\r\nHost: " + t.Addr + "\r\n\r\n"); err != nil {
		return err
	}
	_, err := h.until("\r\n\r\n")
	return err
}

func requestHead(t Target) string {
	head := "GET " + t.Path + " HTTP/1.1\r\nHost: " + t.Addr + "\r\n"
	if t.Kind == SSE {
		return head + "Accept: text/event-stream\r\n\r\n"
	}
	head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	switch t.Kind {
	case STOMP:
		head += "Sec-WebSocket-Protocol: v12.stomp\r\n"
	case MQTT:
		head += "Sec-WebSocket-Protocol: mqtt\r\n"
	}
	return head + "\r\n"
}

func (h *hello) send(text string) error {
	for {
		if _, err := unix.Write(h.fd, []byte(text)); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// until reads until the text has come, and answers all up to its end.
func (h *hello) until(text string) ([]byte, error) {
	buf := make([]byte, 4096)
	for {
		if i := bytes.Index(h.got, []byte(text)); i >= 0 {
			used := h.got[:i+len(text)]
			h.got = h.got[i+len(text):]
			return used, nil
		}
		if len(h.got) > maxHello {
			return nil, fmt.Errorf("no %q in %d bytes", text, len(h.got))
		}
		n, err := unix.Read(h.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("waiting for %q: %w", text, err)
		case n == 0:
			return nil, fmt.Errorf("waiting for %q: the server closed", text)
		}
		h.got = append(h.got, buf[:n]...)
	}
}
