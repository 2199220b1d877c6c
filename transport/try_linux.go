package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tryWrite writes as much of b.rest as the socket takes without waiting, and
// takes that off.
func tryWrite(raw syscall.RawConn, b *batch) (written int, err error) {
	// Control holds the descriptor open, as Write does, but does not ask the
	// runtime's poller, which nobody waits for here, and whose own record of the
	// connection is cold.
	if err := raw.Control(b.try); err != nil {
		return 0, fmt.Errorf("write to the client: %w", err)
	}
	switch {
	case errors.Is(b.tryErr, unix.EAGAIN):
		return 0, nil
	case b.tryErr != nil:
		return 0, fmt.Errorf("write to the client: %w", b.tryErr)
	}
	b.advance(b.tried)
	return b.tried, nil
}

func (b *batch) tryOnce(fd uintptr) {
	for {
		b.tried, b.tryErr = b.writeOnce(fd)
		if b.tryErr != unix.EINTR { //nolint:errorlint // a system call's own
			return
		}
	}
}

func (b *batch) writeOnce(fd uintptr) (int, error) {
	size := 0
	for _, p := range b.rest {
		size += len(p)
	}
	quietly := b.quietly(size)
	switch one := len(b.rest) == 1; {
	case one && quietly:
		return sendQuietly(fd, b.rest[0])
	case one:
		return unix.Write(int(fd), b.rest[0]) //nolint:wrapcheck // a system call's own
	case quietly:
		return b.sendPiecesQuietly(fd)
	}
	return unix.Writev(int(fd), b.rest) //nolint:wrapcheck // a system call's own
}

// quietly reports whether a write of so many bytes may go past Go's scheduler, and counts it.
func (b *batch) quietly(size int) bool {
	if b.quiet > 0 && size <= writeBytes {
		b.quiet = max(0, b.quiet-1-size/quietBytes)
		return true
	}
	b.quiet = quietWrites // the scheduler hears of this one
	return false
}

// sendFlags say what the socket's mode says already, and spare a SIGPIPE that Go would ignore.
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// sendQuietly is send(2) without a word to Go's scheduler, which else wakes its monitor in case that the call blocks, and has
// it look each 20 microseconds. A socket in non-blocking mode does not block, and for few readers that is a good part of what a
// message costs. See batch.quiet for why this is not always done. And send(2) goes from the descriptor straight to the socket:
// write(2) looks first at the mode and the inode of a file, which are in no cache where streams are thousands.
func sendQuietly(fd uintptr, p []byte) (n int, err error) {
	//nolint:gosec // a pointer into a slice that the caller holds, for the length of the call
	r, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), sendFlags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// pieces is what sendmsg(2) takes, kept because a list for each call would be garbage.
type pieces struct {
	head unix.Msghdr
	list []unix.Iovec
}

// iovecs returns b.rest as system calls take it. It has to be cleared after use.
func (b *batch) iovecs() []unix.Iovec {
	list := b.pieces.list[:0]
	for _, p := range b.rest {
		piece := unix.Iovec{Base: unsafe.SliceData(p)} //nolint:gosec // as above
		piece.SetLen(len(p))
		list = append(list, piece)
	}
	b.pieces.list = list
	return list
}

// sendPiecesQuietly sends b.rest by sendmsg(2), in the same way.
func (b *batch) sendPiecesQuietly(fd uintptr) (n int, err error) {
	list := b.iovecs()
	b.pieces.head.Iov = unsafe.SliceData(list) //nolint:gosec // the same
	b.pieces.head.SetIovlen(len(list))
	//nolint:gosec // the same
	r, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&b.pieces.head)), sendFlags)
	clear(list) // it must not keep frames that their log has evicted
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// tryRead reads what is there without waiting, and answers errNothing if that
// is nothing.
func tryRead(conn net.Conn, p []byte) (n int, err error) {
	raw := rawConn(conn)
	if raw == nil {
		return conn.Read(p) //nolint:wrapcheck // net's own, as the library expects it
	}
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			if n, rerr = unix.Read(int(fd), p); !errors.Is(rerr, unix.EINTR) {
				return true
			}
		}
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("read from the client: %w", err)
	case errors.Is(rerr, unix.EAGAIN):
		return 0, errNothing
	case rerr != nil:
		return 0, fmt.Errorf("read from the client: %w", rerr)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// discardWaiting takes what the client has sent and nobody read, some of it at
// least. It waits neither for more nor for a read of somebody else's.
func discardWaiting(conn net.Conn) {
	raw := rawConn(conn)
	if raw == nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // an error means that it is closed
		var b [4 << 10]byte
		for range 64 {
			if n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT); err != nil || n == 0 {
				return
			}
		}
	})
}
