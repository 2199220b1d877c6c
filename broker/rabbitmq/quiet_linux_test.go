package rabbitmq

import (
	"net"
	"testing"
)

// TestReaderTellsTheSchedulerNowAndThen reads what always is there already, and counts the reads that go past Go's scheduler:
// without one that does not, its monitor would sleep on while a reader finds no end of messages.
func TestReaderTellsTheSchedulerNowAndThen(t *testing.T) {
	const rounds = 4 * quietReads
	for name, size := range map[string]int{"small": 100, "as large as they come": readBuffer} {
		t.Run(name, func(t *testing.T) {
			socket, peer := connected(t)
			r, message, buf := newQuietReader(socket), make([]byte, size), make([]byte, readBuffer)
			reads, bytes, told := 0, 0, 0
			for range rounds {
				if _, err := peer.Write(message); err != nil {
					t.Fatal(err)
				}
				for rest := size; rest > 0; {
					quietly := r.left > 0
					n, err := r.Read(buf)
					if err != nil {
						t.Fatal(err)
					}
					rest -= n
					if !quietly {
						reads, bytes = 0, 0
						told++
						continue
					}
					reads, bytes = reads+1, bytes+n
					if reads > quietReads || bytes >= quietReads*quietBytes+readBuffer {
						t.Fatalf("%d reads of %d bytes were quiet", reads, bytes)
					}
				}
			}
			if told < rounds/(quietReads+1) {
				t.Errorf("%d reads of at least %d told the scheduler", told, rounds)
			}
			if told > rounds/4 {
				t.Errorf("%d reads told the scheduler, of some %d", told, rounds)
			}
		})
	}
}

// connected returns both ends of a TCP connection.
func connected(t *testing.T) (one, other net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if one, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close() })
	if other, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return one, other
}
