package rabbitmq

import (
	"bytes"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// TestExpiryEndsAWriteUnderWay has a broker that takes no more bytes: Close must not wait for as long as the write would.
func TestExpiryEndsAWriteUnderWay(t *testing.T) {
	socket, _ := connected(t)
	w := newWire(socket, time.Minute, nil)
	var written atomic.Int64
	failed := make(chan error, 1)
	go func() {
		heartbeats := bytes.Repeat([]byte{8, 0, 0, 0, 0, 0, 0, 0xCE}, 1<<13)
		for {
			if _, err := w.Write(heartbeats); err != nil {
				failed <- err
				return
			}
			written.Add(1)
		}
	}()
	for before := int64(-1); written.Load() != before; <-time.After(200 * time.Millisecond) {
		before = written.Load()
	}
	go w.expire(time.Now())
	select {
	case err := <-failed:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the write goes on")
	}
}
