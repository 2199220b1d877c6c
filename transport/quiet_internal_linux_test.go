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
		{"a write counts by its bytes", quietBytes, quietWrites / 2},
		{"a large write is never quiet", writeBytes + 1, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			const writes = 2*quietWrites + 2
			quietly := quietRuns(t, sink(t), make([]byte, c.size), writes)
			for _, n := range quietly {
				if n != c.quietly {
					t.Fatalf("%d writes in a row were quiet, want %d", n, c.quietly)
				}
			}
			if want := (writes - 1) / (c.quietly + 1); len(quietly) != want {
				t.Errorf("%d times a write told the scheduler again, want %d", len(quietly), want)
			}
		})
	}
}

func TestWritesOfSeveralPiecesAreWholeAndTellTheSchedulerToo(t *testing.T) {
	raw, err := sink(t).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	b, quietly := newBatch(), 0
	for range 4 * quietWrites {
		if b.quiet > 0 {
			quietly++
		} else {
			quietly = 0
		}
		b.rest = net.Buffers{make([]byte, 4), make([]byte, bigFrame), make([]byte, 3)}
		n, err := tryWrite(raw, b)
		if rest := len(b.rest); err != nil || n == 0 != (rest == 3) || n == bigFrame+7 != (rest == 0) {
			t.Fatalf("wrote %d bytes, %d pieces are left: %v", n, rest, err)
		}
		if quietly > quietWrites {
			t.Fatalf("%d writes in a row were quiet", quietly)
		}
		for _, v := range b.pieces.list[:cap(b.pieces.list)] {
			if v.Base != nil {
				t.Fatal("a batch keeps what it has written")
			}
		}
	}
}

// quietRuns writes message so many times, and returns how many writes were quiet between each two that were not. A new
// worker's first write is not.
func quietRuns(t *testing.T, conn *net.TCPConn, message []byte, writes int) []int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var runs []int
	b, quietly := newBatch(), -1
	for range writes {
		before := b.quiet
		b.rest = net.Buffers{message} // what the socket did not take is not of interest
		if _, err := tryWrite(raw, b); err != nil {
			t.Fatal(err)
		}
		if b.quiet < before {
			quietly++
			continue
		}
		if quietly >= 0 {
			runs = append(runs, quietly)
		}
		quietly = 0
	}
	return runs
}

// sink returns a TCP connection to a peer that reads all.
func sink(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, peer := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, peer)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn
}

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (conn, peer *net.TCPConn) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
	})
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}
