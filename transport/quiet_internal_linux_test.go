package transport

import (
	"io"
	"net"
	"testing"
)

// TestWorkersTellTheSchedulerNowAndThen counts the writes that go past Go's scheduler: without one that does not, its monitor
// would sleep on while a worker finds no end of work.
func TestWorkersTellTheSchedulerNowAndThen(t *testing.T) {
	cases := []struct {
		name    string
		size    int
		quietly int // so many in a row
	}{
		{"small writes", 100, quietWrites},
		{"a write counts by its bytes", 3 * quietBytes, quietWrites / 4},
		{"a large write is never quiet", coalesceBytes + 1, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn := sink(t)
			raw, err := conn.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			b, message := newBatch(), make([]byte, c.size)
			quietly, told := 0, 0
			for range 2*quietWrites + 2 {
				before := b.quiet
				b.rest = net.Buffers{message} // what the socket did not take is not of interest
				if _, err := tryWrite(raw, b); err != nil {
					t.Fatal(err)
				}
				if b.quiet < before {
					quietly++
					continue
				}
				if told > 0 && quietly != c.quietly { // a new worker's first write tells
					t.Fatalf("%d writes in a row were quiet, want %d", quietly, c.quietly)
				}
				quietly = 0
				told++
			}
			if want := (2*quietWrites + 2 + c.quietly) / (c.quietly + 1); told != want {
				t.Errorf("%d writes told the scheduler, want %d", told, want)
			}
		})
	}
}

// sink returns a TCP connection to a peer that reads all.
func sink(t *testing.T) *net.TCPConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, peer)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
		peer.Close()
	})
	return conn.(*net.TCPConn)
}
