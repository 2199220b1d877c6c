package transport

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent data may stay unacknowledged (RFC 5482),
// which is how the kernel notices a peer that vanished. It is best effort: not
// every connection is TCP.
func setUserTimeout(conn net.Conn, d time.Duration) {
	raw := rawConn(conn)
	if raw == nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// acknowledged returns how many bytes the client's kernel has acknowledged, 0
// if that cannot be known.
func acknowledged(conn net.Conn) uint64 {
	raw := rawConn(conn)
	if raw == nil {
		return 0
	}
	acked := uint64(0)
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			acked = info.Bytes_acked
		}
	})
	return acked
}
