//go:build !linux

package transport

import (
	"net"
	"syscall"
)

// tryWrite leaves everything to the write that waits.
func tryWrite(syscall.RawConn, *batch) (int, error) { return 0, nil }

// tryRead waits: without a poller nobody is in a hurry to end.
func tryRead(conn net.Conn, p []byte) (int, error) { return conn.Read(p) }

// discardWaiting does nothing: there is no read that does not wait.
func discardWaiting(net.Conn) {}

func (b *batch) tryOnce(uintptr) {}

// pieces are of no use here.
type pieces struct{}
