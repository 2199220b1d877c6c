//go:build !linux

package rabbitmq

import (
	"io"
	"net"
)

func newQuietWriter(socket net.Conn) io.Writer { return socket }
