//go:build !linux

package transport

import (
	"net"
	"time"
)

// setUserTimeout has no counterpart here: a vanished peer is noticed when the
// write timeout passes or the kernel's retransmissions end.
func setUserTimeout(net.Conn, time.Duration) {}

// acknowledged cannot be known here: a write that takes longer than the write
// timeout counts as stalled.
func acknowledged(net.Conn) uint64 { return 0 }
