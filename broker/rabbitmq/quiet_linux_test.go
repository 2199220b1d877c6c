package rabbitmq

import (
	"net"
	"testing"
)

// TestReaderTellsTheSchedulerNowAndThen reads what always is there already, and counts the reads that go past Go's scheduler:
// without one that does not, its monitor would sleep on while a reader finds no end of messages.
func TestReaderTellsTheSchedulerNowAndThen(t *testing.T) {
	for name, size := range map[string]int{"small": 100, "as large as they come": readBuffer} {
		t.Run(name, func(t *testing.T) {
			const rounds = 4 * quietReads
			socket, peer := connected(t)
			r, message := newQuietReader(socket), make([]byte, size)
			var c quietCount
			for range rounds {
				if _, err := peer.Write(message); err != nil {
					t.Fatal(err)
				}
				for rest := size; rest > 0; {
					rest -= c.read(t, r)
				}
			}
			if c.told < rounds/(quietReads+1) || c.told > rounds/4 {
				t.Errorf("%d reads told the scheduler, of some %d", c.told, rounds)
			}
		})
	}
}

// quietCount counts reads: how many told the scheduler, and how many and how large were those since then that did not.
type quietCount struct{ told, reads, bytes int }

func (c *quietCount) read(t *testing.T, r *quietReader) int {
	t.Helper()
	quietly := r.left > 0
	n, err := r.Read(make([]byte, readBuffer))
	if err != nil {
		t.Fatal(err)
	}
	if !quietly {
		*c = quietCount{told: c.told + 1}
		return n
	}
	c.reads, c.bytes = c.reads+1, c.bytes+n
	if c.reads > quietReads || c.bytes >= quietReads*quietBytes+readBuffer {
		t.Fatalf("%d reads of %d bytes were quiet", c.reads, c.bytes)
	}
	return n
}

// connected returns both ends of a TCP connection.
func connected(t *testing.T) (one, other net.Conn) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if one, err = new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close() })
	if other, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return one, other
}
