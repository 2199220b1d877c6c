package rabbitmq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
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
			if c.told+c.waited < rounds/(quietReads+1) || c.told > rounds/4 {
				t.Errorf("%d reads told the scheduler and %d waited, of some %d", c.told, c.waited, rounds)
			}
		})
	}
}

// quietCount counts reads: how many told the scheduler, or had to wait, which tells it too, and how many and how large were
// those since then that did neither.
type quietCount struct{ told, waited, reads, bytes int }

func (c *quietCount) read(t *testing.T, r *quietReader) int {
	t.Helper()
	left := r.left
	n, err := r.Read(make([]byte, readBuffer))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case left == 0:
		*c = quietCount{told: c.told + 1, waited: c.waited}
		return n
	case r.left >= left: // the kernel had not passed on yet what was written
		*c = quietCount{told: c.told, waited: c.waited + 1}
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

func TestWriterTellsTheSchedulerNowAndThen(t *testing.T) {
	socket, peer := connected(t)
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	w, ack := newQuietWriter(socket), make([]byte, 21)
	quietly, told := 0, 0
	for range 4 * quietWrites {
		if w.left > 0 {
			quietly++
		} else {
			quietly = 0
			told++
		}
		if quietly > quietWrites {
			t.Fatalf("%d writes in a row were quiet", quietly)
		}
		if _, err := w.Write(ack); err != nil {
			t.Fatal(err)
		}
	}
	if told != 4 {
		t.Errorf("%d writes told the scheduler, want 4", told)
	}
}

// TestWriterWaitsForASlowPeer has the socket take only a part of a write now and then.
func TestWriterWaitsForASlowPeer(t *testing.T) {
	const size, writes = 1000, 5000
	socket, peer := connected(t)
	if err := socket.(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	var want, got bytes.Buffer
	for i := range size * writes / 4 {
		want.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{&got}, io.LimitReader(peer, size*writes), make([]byte, 100))
		read <- err
	}()
	w, short := newQuietWriter(socket), 0
	for p := want.Bytes(); len(p) > 0; p = p[size:] {
		w.left = 1
		if n, err := w.Write(p[:size]); n != size || err != nil {
			t.Fatalf("a write of %d took %d: %v", size, n, err)
		}
		if w.n < size {
			short++
		}
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("other bytes arrive than were written")
	}
	if short == 0 {
		t.Error("the socket was never full")
	}
}

func TestWriterKeepsItsDeadlineAndSaysWhenThePeerIsGone(t *testing.T) {
	socket, peer := connected(t)
	w, ack := newQuietWriter(socket), make([]byte, 21)
	w.left = quietWrites
	if err := socket.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(ack); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write after the deadline answers %d, %v", n, err)
	}
	if err := socket.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	for range quietWrites { // the first finds nobody, and the kernel tells with one of the next
		w.left = quietWrites
		if _, err := w.Write(ack); err != nil {
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a write to nobody answers %v", err)
			}
			return
		}
	}
	t.Error("writes to nobody succeed")
}
