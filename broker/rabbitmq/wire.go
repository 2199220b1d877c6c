package rabbitmq

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// frameSize is the largest AMQP frame we accept: RabbitMQ's own default, which it may lower.
	frameSize = 131_072
	// readBuffer is how much is read at once. amqp091-go reads 4 KiB at a time, which at 300 bytes a message is a system
	// call for each dozen of them.
	readBuffer = 64 << 10
	// deadlineStep is how far a deadline must have moved before it is moved on the socket; a quarter of it, if that is less.
	deadlineStep = time.Second
)

// wire is the socket as amqp091-go sees it. It has no SetReadDeadline on purpose: if it had, the library would wake its
// heartbeat goroutine for every frame that comes in. Instead it keeps both deadlines itself:
//
//   - reading: twice the heartbeat, within which the broker sends something or is gone;
//   - writing: without one, a write to a peer that is gone blocks for a quarter of an hour, in Ack with a lock held that
//     the library needs to shut the connection down. It is the reader that writes most acks, so nothing is read meanwhile.
type wire struct {
	socket       net.Conn
	frames       *frameReader
	writeTimeout time.Duration
	// silence is how long the broker may be silent, in nanoseconds; 0: for ever.
	silence atomic.Int64

	reader    io.Reader // of the socket
	readMoved time.Time // only the reader uses it

	mu         sync.Mutex // guards the rest and serialises writes
	writer     io.Writer  // to the socket
	guard      guard
	writeMoved time.Time
	corks      int
	corked     []byte
	expires    time.Time // a last deadline for everything; zero: none
}

var _ io.ReadWriteCloser = (*wire)(nil)

// newWire wraps a socket on which the handshake is still to come. poisoned is called for each message whose headers were
// taken off because the library could not have read them.
func newWire(socket net.Conn, writeTimeout time.Duration, poisoned func()) *wire {
	w := &wire{socket: socket, reader: newQuietReader(socket), writer: newQuietWriter(socket), writeTimeout: writeTimeout}
	w.frames = newFrameReader(readerFunc(w.readSocket), poisoned)
	return w
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// established ends the handshake: from now on the heartbeat counts, and what frames may have.
func (w *wire) established(heartbeat time.Duration, frameMax int) {
	w.silence.Store(int64(2 * heartbeat))
	w.frames.agreed.Store(int64(frameMax))
}

// expire lets everything fail from then on, a write under way too: that has mu for as long as it takes.
func (w *wire) expire(at time.Time) {
	_ = w.socket.SetDeadline(at)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expires = at
	_ = w.socket.SetDeadline(at) // whoever had mu may have moved it
}

// Read implements io.Reader: whole frames that the library can read.
func (w *wire) Read(p []byte) (int, error) { return w.frames.Read(p) }

func (w *wire) readSocket(p []byte) (int, error) {
	if silence := time.Duration(w.silence.Load()); silence > 0 {
		if now := time.Now(); now.Sub(w.readMoved) > min(deadlineStep, silence/4) {
			w.readMoved = now
			w.mu.Lock()
			if w.expires.IsZero() {
				_ = w.socket.SetReadDeadline(now.Add(silence))
			}
			w.mu.Unlock()
		}
	}
	return w.reader.Read(p)
}

// Write implements io.Writer.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.guard.filter(p, w.pass); err != nil {
		return 0, err
	}
	return len(p), nil
}

// pass writes now or with uncork. The caller holds mu.
func (w *wire) pass(p []byte) error {
	if w.corks > 0 {
		w.corked = append(w.corked, p...)
		return nil
	}
	return w.write(p)
}

// write writes with a deadline. The caller holds mu.
func (w *wire) write(p []byte) error {
	if now := time.Now(); w.expires.IsZero() && now.Sub(w.writeMoved) > min(deadlineStep, w.writeTimeout/4) {
		w.writeMoved = now
		_ = w.socket.SetWriteDeadline(now.Add(w.writeTimeout))
	}
	_, err := w.writer.Write(p)
	return err
}

// cork holds writes back until uncork, so that many small ones become one. Whoever corks calls uncork very soon and waits
// for no answer before.
func (w *wire) cork() {
	w.mu.Lock()
	w.corks++
	w.mu.Unlock()
}

func (w *wire) uncork() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.corks--
	if w.corks > 0 || len(w.corked) == 0 {
		return
	}
	if err := w.write(w.corked); err != nil {
		// Those who wrote believe that they succeeded. A closed socket tells the reader, and so everybody.
		w.socket.Close()
	}
	w.corked = w.corked[:0]
}

// Close implements io.Closer.
func (w *wire) Close() error { return w.socket.Close() }
