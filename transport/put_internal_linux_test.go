package transport

import (
	"errors"
	"net"
	"reflect"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/warren-gateway/warren/broker"
)

// TestHotFieldsShareLines: what each message to each reader touches of a stream is in its first two lines of 64 bytes, and the
// allocator begins objects of its size on one. On 32 bits it is smaller, and nobody has measured.
func TestHotFieldsShareLines(t *testing.T) {
	st := reflect.TypeFor[stream]()
	if st.Size() != 256 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("a stream has %d bytes, and may begin within a line", st.Size())
	}
	for _, name := range []string{
		"flags", "transport", "draining", "after", "turns", "srv", "att", "ws", "out", "head", "raw", "lastSent", "messages", "written",
	} {
		f, found := st.FieldByName(name)
		if end := f.Offset + f.Type.Size(); !found || end > 128 {
			t.Errorf("%s ends at byte %d", name, end)
		}
	}
}

// slowOutput is a client that took nothing for the write timeout.
type slowOutput struct{ output }

func (slowOutput) write(*batch) (whole bool, err error) { return true, errSlow }

// TestByeFollowsOnlyWholeFrames has a socket that takes a part of a write, and then nothing at all.
func TestByeFollowsOnlyWholeFrames(t *testing.T) {
	conn, _ := pair(t)
	st := newStream(&Server{opts: Options{}.withDefaults()}, broker.SSE)
	st.onto(conn)
	st.out = slowOutput{st.out}
	b, much := newBatch(), make([]byte, 16<<20) // more than a socket takes
	put := func() (whole bool) {
		b.rest = net.Buffers{much}
		whole, err := st.put(b)
		if !errors.Is(err, errSlow) {
			t.Fatal(err)
		}
		return whole
	}
	if put() {
		t.Error("a bye would follow half a frame")
	}
	// What the peer's kernel takes meanwhile makes room.
	for deadline := time.Now().Add(wakePatience); time.Now().Before(deadline); runtime.Gosched() {
		if put() {
			return
		}
	}
	t.Error("a write of which the socket took nothing cuts no frame")
}

// lateConn takes a write just when its deadline passes.
type lateConn struct {
	net.Conn
	deadlines []time.Time
	passed    chan struct{}
}

func (c *lateConn) Write(p []byte) (int, error) {
	<-c.passed
	return len(p), nil
}

func (c *lateConn) SetWriteDeadline(at time.Time) error {
	if c.deadlines = append(c.deadlines, at); len(c.deadlines) == 1 {
		close(c.passed)
	}
	return nil
}

// TestDeadlineThatCameTooLateIsTakenAway: a write that succeeds at its deadline leaves none behind, or the next that has to
// wait would be over at once.
func TestDeadlineThatCameTooLateIsTakenAway(t *testing.T) {
	conn := &lateConn{passed: make(chan struct{})}
	srv := &Server{opts: Options{WriteTimeout: 20 * time.Millisecond}.withDefaults(), workers: newWorkers(nil)}
	srv.workers.unblock() // the caller is a worker
	b := newBatch()
	b.rest = net.Buffers{[]byte("x")}
	if whole, err := (&socket{conn: conn, srv: srv}).write(b); !whole || err != nil {
		t.Fatalf("whole %v, %v", whole, err)
	}
	if n := len(conn.deadlines); n != 2 || !conn.deadlines[1].IsZero() {
		t.Errorf("deadlines: %v", conn.deadlines)
	}
}
