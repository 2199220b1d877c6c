package rabbitmq

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// quietReads is how many reads in a row may go past Go's scheduler without one that had to wait, before one must not. A reader
// that always finds something has to let the scheduler know: its monitor, which takes the processor from who has it for too
// long, would sleep on. A read counts once more for each quietBytes that it finds, so that 512 KiB, some milliseconds' work
// where messages are small, are the most.
const (
	quietReads = 256
	quietBytes = 2 << 10
)

// quietReader reads a TCP socket by read(2) without a word to Go's scheduler, which else wakes its monitor in case that the
// call blocks, and has it look each 20 microseconds. A socket in non-blocking mode does not block: when it has nothing, the
// poller waits for it, as for every other. Where messages come one by one, that is a good part of what one costs.
type quietReader struct {
	socket net.Conn
	raw    syscall.RawConn // nil: not TCP
	once   func(fd uintptr) bool

	p     []byte
	n     int
	errno syscall.Errno
	left  int // of quietReads
}

func newQuietReader(socket net.Conn) *quietReader {
	r := &quietReader{socket: socket}
	if tcp, ok := socket.(*net.TCPConn); ok {
		r.raw, _ = tcp.SyscallConn() // An error means a closed socket, which Read tells.
	}
	r.once = r.readOnce
	return r
}

// Read implements io.Reader.
func (r *quietReader) Read(p []byte) (int, error) {
	if r.raw == nil || r.left == 0 || len(p) == 0 {
		r.left = quietReads
		return r.socket.Read(p)
	}
	r.left--
	r.p = p
	err := r.raw.Read(r.once)
	r.p = nil
	switch {
	case err != nil:
		return 0, err
	case r.errno != 0:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: r.socket.LocalAddr(), Addr: r.socket.RemoteAddr(), Err: r.errno}
	case r.n == 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// readOnce reports false when there is nothing yet.
func (r *quietReader) readOnce(fd uintptr) bool {
	for {
		//nolint:gosec // a pointer into a slice that the caller holds, for the length of the call
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(r.p))), uintptr(len(r.p)))
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			r.left = quietReads
			return false
		case 0:
			r.n, r.errno = int(n), 0
			r.left = max(0, r.left-r.n/quietBytes)
		default:
			r.n, r.errno = 0, errno
		}
		return true
	}
}
