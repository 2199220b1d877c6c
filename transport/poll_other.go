//go:build !linux

package transport

import (
	"log/slog"
	"net"
)

// poller exists on Linux only; elsewhere a goroutine per stream reads.
type poller struct{}

type pollToken struct{}

func newPoller(*slog.Logger) *poller { return &poller{} }

const (
	pollHangUp = iota
	pollRead
)

func (*poller) watch(*stream, net.Conn) bool { return false }
func (*poller) again(*stream, uint32)        {}
func (*poller) unwatch(*stream)              {}
func (*poller) run()                         {}
func (*poller) close()                       {}
