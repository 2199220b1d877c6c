package rabbitmq

import (
	"net"
	"syscall"
	"unsafe"
)

// quietWrites is how many writes in a row may go past Go's scheduler. Nearly all are acks, by the goroutine that reads and
// tells the scheduler more often.
const quietWrites = 256

// quietWriter writes to a TCP socket as quietReader reads: an ack that wakes Go's monitor for a millisecond costs more than
// the message that it acknowledges. It is for one goroutine at a time.
type quietWriter struct {
	socket net.Conn
	raw    syscall.RawConn // nil: not TCP
	once   func(fd uintptr) bool

	p     []byte
	n     int
	errno syscall.Errno
	left  int // of quietWrites
}

func newQuietWriter(socket net.Conn) *quietWriter {
	w := &quietWriter{socket: socket}
	if tcp, ok := socket.(*net.TCPConn); ok {
		w.raw, _ = tcp.SyscallConn() // An error means a closed socket, which Write tells.
	}
	w.once = w.writeOnce
	return w
}

// Write implements io.Writer. What the socket does not take at once is written as ever, with its deadline.
func (w *quietWriter) Write(p []byte) (int, error) {
	if w.raw == nil || w.left == 0 || len(p) == 0 || len(p) > quietBytes {
		w.left = quietWrites
		return w.socket.Write(p)
	}
	w.left--
	w.p = p
	err := w.raw.Write(w.once)
	w.p = nil
	switch {
	case err != nil:
		return 0, err
	case w.errno != 0:
		return 0, &net.OpError{Op: "write", Net: "tcp", Source: w.socket.LocalAddr(), Addr: w.socket.RemoteAddr(), Err: w.errno}
	case w.n == len(p):
		return w.n, nil
	}
	rest, err := w.socket.Write(p[w.n:])
	return w.n + rest, err
}

// writeOnce never asks to wait.
func (w *quietWriter) writeOnce(fd uintptr) bool {
	for {
		//nolint:gosec // a pointer into a slice that the caller holds, for the length of the call
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(w.p))), uintptr(len(w.p)))
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			w.n, w.errno = 0, 0
		case 0:
			w.n, w.errno = int(n), 0
		default:
			w.n, w.errno = 0, errno
		}
		return true
	}
}
