//go:build !linux

package transport

import "syscall"

// sheet is of no use here.
type sheet struct {
	lies stretch
	size int
}

func smallPages() bool                    { return false }
func newSheets() *sheets                  { return nil }
func (s *sheets) close()                  {}
func (t *sheet) truncate() bool           { return false }
func (t *sheet) append(*batch) bool       { return false }
func (b *batch) sendSheetOnce(fd uintptr) {}

func (t *sheet) trySend(syscall.RawConn, *batch, int, int) (written int, ok bool) { return 0, false }
