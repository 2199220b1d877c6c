//go:build !linux

package rabbitmq

import (
	"io"
	"net"
)

func newQuietReader(socket net.Conn) io.Reader { return socket }

func newQuietWriter(socket net.Conn) io.Writer { return socket }
