//go:build !linux

package transport

import (
	"net"
	"time"
)

// setUserTimeout has no counterpart here: a vanished peer is noticed when the
// write timeout passes or the kernel's retransmissions end.
func setUserTimeout(net.Conn, time.Duration) {}
