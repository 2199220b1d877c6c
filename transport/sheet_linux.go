package transport

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sheet is a file in memory (memfd_create(2)), and what lies in it. It is only
// ever cut to nothing: to free a part would be to overwrite it, where the kernel
// has it on large pages.
type sheet struct {
	fd   int
	lies stretch
	size int
}

// newSheets returns nil where the system has no such files, allows none that are large enough, or would have them on large
// pages: of these, a client that reads a little here and there could hold hundreds.
func newSheets() *sheets {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil || limit.Cur < sheetBytes {
		return nil // a write beyond it would be a signal
	}
	if huge, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/shmem_enabled"); err == nil &&
		(bytes.Contains(huge, []byte("[always]")) || bytes.Contains(huge, []byte("[force]"))) {
		return nil
	}
	newer, err := memoryFile()
	if err != nil {
		return nil
	}
	older, err := memoryFile()
	if err != nil {
		_ = unix.Close(newer)
		return nil
	}
	return &sheets{newer: &sheet{fd: newer}, older: &sheet{fd: older}}
}

func memoryFile() (fd int, err error) {
	const name, flags = "warren", unix.MFD_CLOEXEC
	if fd, err = unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL); errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	return fd, err //nolint:wrapcheck // nobody is told
}

func (s *sheets) close() {
	_ = unix.Close(s.newer.fd)
	_ = unix.Close(s.older.fd)
}

// truncate frees the file's memory, but for what sockets refer to.
func (t *sheet) truncate() { _ = unix.Ftruncate(t.fd, 0) }

// append adds the pieces, n bytes in all.
func (t *sheet) append(pieces [][]byte, n int) bool {
	written, err := unix.Pwritev(t.fd, pieces, int64(t.size))
	t.size += n
	return err == nil && written == n
}

// trySend sends as much of the sheet between from and to as the socket takes
// without waiting.
func (t *sheet) trySend(raw syscall.RawConn, b *batch, from, to int) (written int) {
	b.sheet, b.from, b.left = t, int64(from), to-from
	err := raw.Control(b.trySheet)
	b.sheet = nil
	if err != nil {
		return 0 // the write that follows finds out
	}
	return int(b.from) - from
}

func (b *batch) sendSheetOnce(fd uintptr) {
	quietly, errno := b.quietly(b.left), unix.EINTR
	for errno == unix.EINTR { // another error is one of the write that follows, too
		if quietly { // see sendQuietly
			//nolint:gosec // b.from is the caller's, for the length of the call
			_, _, errno = syscall.RawSyscall6(unix.SYS_SENDFILE, fd, uintptr(b.sheet.fd), uintptr(unsafe.Pointer(&b.from)), uintptr(b.left), 0, 0)
		} else {
			//nolint:gosec // the same
			_, _, errno = syscall.Syscall6(unix.SYS_SENDFILE, fd, uintptr(b.sheet.fd), uintptr(unsafe.Pointer(&b.from)), uintptr(b.left), 0, 0)
		}
	}
}
