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

func (*poller) watch(net.Conn, *stream) (pollToken, bool) { return pollToken{}, false }
func (*poller) unwatch(net.Conn, pollToken)               {}
func (*poller) run()                                      {}
func (*poller) close()                                    {}
