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

// newSheets returns nil where the system has no such files, or allows none of that length.
func newSheets() *sheets {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil || limit.Cur < sheetBytes {
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

// smallPages reports whether files in memory are on small pages: of large ones, a
// client that takes a little here and there could hold a lot. See the kernel's
// Documentation/admin-guide/mm/transhuge.rst for the setting, which is not there
// without large ones.
func smallPages() bool {
	huge, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
	if err == nil && !bytes.Contains(huge, []byte("[never]")) && !bytes.Contains(huge, []byte("[advise]")) && !bytes.Contains(huge, []byte("[deny]")) {
		return false
	}
	return os.Getpagesize() <= sharedBytes
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
func (t *sheet) truncate() bool { return unix.Ftruncate(t.fd, 0) == nil }

// append adds b.rest.
func (t *sheet) append(b *batch) bool {
	list := b.iovecs()
	//nolint:gosec // for the length of the call; the list is b's, and its pieces are b.rest's
	n, _, errno := syscall.Syscall6(unix.SYS_PWRITEV, uintptr(t.fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(t.size), 0, 0)
	clear(list)
	t.size += b.size
	return errno == 0 && int(n) == b.size
}

// trySend sends as much of the sheet between from and to as the socket takes
// without waiting. It returns false after an error, which may be the socket's own.
func (t *sheet) trySend(raw syscall.RawConn, b *batch, from, to int) (written int, ok bool) {
	b.sheet, b.from, b.left, b.tryErr = t, from, to-from, nil
	err := raw.Control(b.trySheet)
	b.sheet = nil
	if err != nil {
		return 0, false
	}
	return b.from - from, b.tryErr == nil || b.tryErr == unix.EAGAIN //nolint:errorlint // a system call's own
}

func (b *batch) sendSheetOnce(fd uintptr) {
	quietly, errno := b.quietly(b.left), unix.EINTR
	for errno == unix.EINTR {
		if quietly { // see sendQuietly
			//nolint:gosec // b.from is the caller's, for the length of the call
			_, _, errno = syscall.RawSyscall6(unix.SYS_SENDFILE, fd, uintptr(b.sheet.fd), uintptr(unsafe.Pointer(&b.from)), uintptr(b.left), 0, 0)
		} else {
			//nolint:gosec // the same
			_, _, errno = syscall.Syscall6(unix.SYS_SENDFILE, fd, uintptr(b.sheet.fd), uintptr(unsafe.Pointer(&b.from)), uintptr(b.left), 0, 0)
		}
	}
	if errno != 0 {
		b.tryErr = errno
	}
}
