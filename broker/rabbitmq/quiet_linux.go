package rabbitmq

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// How many reads, and how many writes, may go past Go's scheduler in a row before one must not. Who always finds something to
// do has to let the scheduler know: its monitor, which takes the processor from who has it for too long, would sleep on. A read
// counts once more for each quietBytes that it finds, so that 512 KiB and what the last one finds, some milliseconds' work where
// messages are small, are the most; one that has to wait tells it, too. Nearly all writes are acks, under load by the goroutine
// that reads; a larger one is not quiet.
const (
	quietReads  = 256
	quietWrites = 256
	quietBytes  = 2 << 10
)

// quietCalls makes read(2) and write(2) on a TCP socket without a word to Go's scheduler, which else wakes its monitor in case
// that the call blocks, and has it look each 20 microseconds for a millisecond. A socket in non-blocking mode does not block.
// Where messages come one by one, that is a good part of what one costs. It is for one goroutine at a time.
type quietCalls struct {
	socket net.Conn
	raw    syscall.RawConn              // nil: not TCP
	once   func(fd uintptr) (done bool) // makes the call; made once, because a closure per call would be garbage
	left   int                          // so many more may be quiet

	p     []byte
	n     int
	errno syscall.Errno // EAGAIN among them
}

func (q *quietCalls) wrap(socket net.Conn, once func(fd uintptr) bool) {
	q.socket, q.once = socket, once
	if tcp, ok := socket.(*net.TCPConn); ok {
		q.raw, _ = tcp.SyscallConn() // An error means a closed socket, which its own Read and Write tell.
	}
}

// call makes the system call with p.
func (q *quietCalls) call(trap, fd uintptr) {
	for {
		//nolint:gosec // a pointer into a slice that the caller holds, for the length of the call
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(q.p))), uintptr(len(q.p)))
		if errno == syscall.EINTR {
			continue
		}
		if q.n, q.errno = int(n), errno; errno != 0 {
			q.n = 0
		}
		return
	}
}

// quietReader reads quietly. When the socket has nothing, the poller waits for it, as for every other.
type quietReader struct{ quietCalls }

func newQuietReader(socket net.Conn) *quietReader {
	r := &quietReader{}
	r.wrap(socket, r.readOnce)
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
	if r.call(syscall.SYS_READ, fd); r.errno == syscall.EAGAIN {
		r.left = quietReads
		return false
	}
	r.left = max(0, r.left-r.n/quietBytes)
	return true
}

// quietWriter writes quietly: an ack that wakes Go's monitor costs more than the message that it acknowledges.
type quietWriter struct{ quietCalls }

func newQuietWriter(socket net.Conn) *quietWriter {
	w := &quietWriter{}
	w.wrap(socket, w.writeOnce)
	return w
}

// Write implements io.Writer. What the socket does not take at once is written as ever, with its deadline, which also tells if
// it takes nothing any more.
func (w *quietWriter) Write(p []byte) (int, error) {
	if w.raw == nil || w.left == 0 || len(p) == 0 || len(p) > quietBytes {
		w.left = quietWrites
		return w.socket.Write(p)
	}
	w.left--
	w.p, w.n = p, 0
	err := w.raw.Write(w.once)
	w.p = nil
	if err != nil || w.n == len(p) {
		return w.n, err
	}
	rest, err := w.socket.Write(p[w.n:])
	return w.n + rest, err
}

// writeOnce never asks to wait.
func (w *quietWriter) writeOnce(fd uintptr) bool {
	w.call(syscall.SYS_WRITE, fd)
	return true
}
