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
	quietly := b.quiet > 0 && size <= writeBytes
	if quietly {
		b.quiet = max(0, b.quiet-1-size/quietBytes)
	} else {
		b.quiet = quietWrites // the scheduler hears of this one
	}
	switch one := len(b.rest) == 1; {
	case one && quietly:
		return writeQuietly(fd, b.rest[0])
	case one:
		return unix.Write(int(fd), b.rest[0]) //nolint:wrapcheck // a system call's own
	case quietly:
		return b.iovs.writeQuietly(fd, b.rest)
	}
	return unix.Writev(int(fd), b.rest) //nolint:wrapcheck // a system call's own
}

// iovecs are what writev(2) takes, kept because one for each call would be garbage.
type iovecs []unix.Iovec

// writeQuietly is to writev(2) what writeQuietly is to write(2).
func (v *iovecs) writeQuietly(fd uintptr, pieces [][]byte) (n int, err error) {
	list := (*v)[:0]
	for _, p := range pieces {
		iov := unix.Iovec{Base: unsafe.SliceData(p)} //nolint:gosec // as below
		iov.SetLen(len(p))
		list = append(list, iov)
	}
	//nolint:gosec // pointers into what the caller holds, for the length of the call
	r, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)))
	clear(list) // it must not keep frames that their log has evicted
	*v = list[:0]
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// writeQuietly is write(2) without a word to Go's scheduler, which else wakes its monitor in case that the call blocks, and has
// it look each 20 microseconds. A socket in non-blocking mode does not block, and for few readers that is a good part of what a
// message costs. See batch.quiet for why this is not always done.
func writeQuietly(fd uintptr, p []byte) (n int, err error) {
	//nolint:gosec // a pointer into a slice that the caller holds, for the length of the call
	r, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
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
