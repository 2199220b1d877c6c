package brokertest

import (
	"bytes"
	"sync"
)

// Buffer collects what several goroutines write, as a logger's lines or a
// process's output, for a test to read meanwhile. The zero value is empty.
type Buffer struct {
	mu  sync.Mutex // guards the rest
	buf bytes.Buffer
}

// Write implements io.Writer. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
