package load

import (
	"encoding/binary"
	"os"
)

// Progress tells a publisher in another process how far the slowest reader is: 8 bytes in a file that both have open.
type Progress struct{ file *os.File }

// OpenProgress opens the file, making it if need be.
func OpenProgress(name string) (*Progress, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the driver names a file in its own temporary directory
	if err != nil {
		return nil, err
	}
	return &Progress{file: file}, nil
}

// Set tells how many messages the slowest reader has.
func (p *Progress) Set(n int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	_, _ = p.file.WriteAt(b[:], 0) // the publisher then waits, and the driver's time limit tells
}

// Get answers what was set last, 0 before the first time.
func (p *Progress) Get() int64 {
	var b [8]byte
	if n, _ := p.file.ReadAt(b[:], 0); n < len(b) {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// Close closes the file.
func (p *Progress) Close() error { return p.file.Close() }
