package peer

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/role"
)

// LoopRole is the name of the process with the bare loop.
const LoopRole = "loop"

// piece is what the loop writes by one system call when it writes flat out, at most, in bytes.
const piece = 16 << 10

// breath is how long the loop waits when there is nothing to write, as publishers do.
const breath = 200 * time.Microsecond

// LoopJob says what the loop is to write to each of its connections.
type LoopJob struct {
	Frame []byte `json:"frame"` // one message as the gateway writes it
	Rate  int    `json:"rate"`  // messages per second, each by a system call of its own; 0: flat out, in pieces
	// With rate 0, how many messages the loop may be ahead of the slowest reader, and the file in which the readers tell where that is:
	// the same bounds as a publisher has.
	Ahead    int    `json:"ahead"`
	Progress string `json:"progress"`
}

// loop is the least that a server can do: it holds sockets and writes given bytes to them.
type loop struct {
	mu     sync.Mutex // guards socks and writes
	socks  []*sock
	writes int64 // that wrote something, so far

	cancel context.CancelFunc
	done   chan struct{}
}

// sock is a connection and where in the bytes it is.
type sock struct {
	raw syscall.RawConn
	at  int
	all int64 // bytes written
	// write is kept, so that a round makes no garbage.
	write func(fd uintptr)
	n     int
	err   error
	data  []byte
}

// LoopHandlers answers the operations of the role: listen, run, writes, halt.
func LoopHandlers() map[string]role.Handler {
	l := &loop{}
	return map[string]role.Handler{
		"listen": role.Op(func(ctx context.Context, _ load.None) (string, error) { return l.listen(ctx) }),
		"run": role.Op(func(ctx context.Context, job LoopJob) (load.None, error) {
			if l.cancel != nil || len(job.Frame) == 0 {
				return load.None{}, errors.New("runs already, or has nothing to write")
			}
			return load.None{}, l.run(ctx, job)
		}),
		"writes": role.Op(func(context.Context, load.None) (int64, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.writes, nil
		}),
		"halt": role.Op(func(context.Context, load.None) (load.None, error) {
			if l.cancel != nil {
				l.cancel()
				<-l.done
				l.cancel = nil
			}
			return load.None{}, nil
		}),
	}
}

func (l *loop) listen(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.greet(conn.(*net.TCPConn))
		}
	}()
	return listener.Addr().String(), nil
}

// greet reads a request's head, answers as a stream of its kind begins and keeps the connection.
func (l *loop) greet(conn *net.TCPConn) {
	var head []byte
	buf := make([]byte, 1024)
	for !bytes.Contains(head, []byte("\r\n\r\n")) {
		n, err := conn.Read(buf)
		if err != nil {
			_ = conn.Close()
			return
		}
		head = append(head, buf[:n]...)
	}
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	if bytes.Contains(head, []byte("Upgrade: websocket")) {
		answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		_, err = conn.Write([]byte(answer))
	}
	if err != nil {
		_ = conn.Close()
		return
	}
	s := &sock{raw: raw}
	s.write = func(fd uintptr) {
		s.n, s.err = writeRaw(fd, s.data) // whether it could write or not: the loop goes on
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socks = append(l.socks, s)
}

// writeRaw is send(2), as the gateway writes, without a word to Go's scheduler. Its monitor would else wake each 20 microseconds,
// in case that the call blocks, and take a good part of the core: the least that would do it has no monitor. A socket in
// non-blocking mode does not block; one that is full answers EAGAIN.
func writeRaw(fd uintptr, p []byte) (n int, err error) {
	//nolint:gosec // a pointer into a slice that the caller holds, for the length of the call
	r, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

func (l *loop) run(ctx context.Context, job LoopJob) error {
	progress, err := load.OpenProgress(job.Progress)
	if err != nil {
		return err
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.done = make(chan struct{})
	data, interval := job.Frame, breath
	if job.Rate > 0 {
		interval = time.Second / time.Duration(job.Rate)
	} else {
		data = bytes.Repeat(job.Frame, max(1, piece/len(job.Frame)))
	}
	go func() {
		defer close(l.done)
		defer progress.Close() //nolint:errcheck // it was only read
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for ctx.Err() == nil {
			until := int64(math.MaxInt64)
			if job.Rate == 0 {
				until = (progress.Get() + int64(job.Ahead)) * int64(len(job.Frame))
			}
			// Flat out it waits only when no socket takes anything, or the readers are too far behind.
			if l.round(data, until) && job.Rate == 0 {
				continue
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return nil
}

// round writes to each connection once, as much as it takes, unless it has so many bytes already, and tells whether any
// took something.
func (l *loop) round(data []byte, until int64) (wrote bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.socks {
		if s.all >= until {
			continue
		}
		s.data = data[s.at:]
		if err := s.raw.Control(s.write); err != nil || s.err != nil || s.n <= 0 {
			continue // full, or gone
		}
		wrote = true
		l.writes++
		s.at = (s.at + s.n) % len(data)
		s.all += int64(s.n)
	}
	return wrote
}
