//go:build !linux

package transport

import "syscall"

// sheet is of no use here.
type sheet struct {
	lies stretch
	size int
}

func newSheets() *sheets                                       { return nil }
func (s *sheets) close()                                       {}
func (t *sheet) truncate()                                     {}
func (t *sheet) append([][]byte, int) bool                     { return false }
func (t *sheet) trySend(syscall.RawConn, *batch, int, int) int { return 0 }
func (b *batch) sendSheetOnce(uintptr)                         {}
