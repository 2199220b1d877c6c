package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readBuffer is what one system call reads at most, in bytes.
	readBuffer = 256 << 10
	// maxCarry is the longest beginning of marker and time that one read may leave to the next.
	maxCarry = len(Marker) + stampDigits
	// progressEvery is how often the progress of the slowest reader is told.
	progressEvery = time.Millisecond
	// dialers is how many streams connect at once.
	dialers = 32
	// maxSamples bounds the latencies that are kept.
	maxSamples = 4 << 20
	// pollTimeout is how long the loop waits for bytes before it looks whether it should end, in milliseconds.
	pollTimeout = 100
)

// stream is one open stream. Only the loop changes it once it runs; mu of Readers guards it.
type stream struct {
	fd    int
	count int64
	carry []byte // begun marker at the end of the last read
}

// Readers are open streams that one loop reads. Its methods may be called while it reads.
type Readers struct {
	epoll    int
	progress *Progress
	wait     sync.WaitGroup
	quit     chan struct{}

	mu      sync.Mutex // guards what follows, and the streams
	streams []*stream
	stalled int // the first so many streams are not read
	lost    int // streams that ended
	bytes   int64
	sample  []int64 // latencies in nanoseconds
	timing  bool    // whether latencies are taken
	least   time.Time
	buf     []byte
}

// NewReaders starts the loop, without streams. Progress may be nil.
func NewReaders(progress *Progress) (*Readers, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	r := &Readers{epoll: epoll, progress: progress, quit: make(chan struct{}), buf: make([]byte, maxCarry+readBuffer)}
	r.wait.Go(r.loop)
	return r, nil
}

// Connect opens so many streams more and answers when all are ready.
func (r *Readers) Connect(ctx context.Context, t Target, n int) error {
	r.mu.Lock()
	first := len(r.streams)
	r.mu.Unlock()
	next := make(chan int)
	failed := make(chan error, dialers)
	var tasks sync.WaitGroup
	for range min(dialers, n) {
		tasks.Go(func() {
			for i := range next {
				if err := r.add(ctx, t, i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for i := first; i < first+n && err == nil; i++ {
		select {
		case next <- i:
		case err = <-failed:
		}
	}
	close(next)
	tasks.Wait()
	select {
	case late := <-failed:
		err = errors.Join(err, late)
	default:
	}
	return err
}

func (r *Readers) add(ctx context.Context, t Target, i int) error {
	fd, rest, err := dial(ctx, t, i)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &stream{fd: fd}
	r.streams = append(r.streams, s)
	copy(r.buf[maxCarry:], rest)
	r.scan(s, len(rest))
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(len(r.streams) - 1)}
	return unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &event)
}

func (r *Readers) loop() {
	events := make([]unix.EpollEvent, 1024)
	for {
		select {
		case <-r.quit:
			return
		default:
		}
		n, err := unix.EpollWait(r.epoll, events, pollTimeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic(fmt.Sprintf("waiting for streams: %v", err)) // a mistake in this package
		}
		r.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			r.read(r.streams[e.Fd])
		}
		r.tell()
		r.mu.Unlock()
	}
}

// read takes what one stream has. The caller holds mu.
func (r *Readers) read(s *stream) {
	if s.fd < 0 {
		return
	}
	n, err := unix.Read(s.fd, r.buf[maxCarry:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
	case err != nil || n == 0:
		_ = unix.Close(s.fd)
		s.fd = -1
		r.lost++
	default:
		r.scan(s, n)
	}
}

// scan counts the messages in n bytes that were read to their place in the buffer. The caller holds mu.
func (r *Readers) scan(s *stream, n int) {
	r.bytes += int64(n)
	from := maxCarry - len(s.carry)
	copy(r.buf[from:], s.carry)
	data := r.buf[from : maxCarry+n]
	var now int64
	if r.timing {
		now = time.Now().UnixNano()
	}
	for {
		i := indexMarker(data)
		if i < 0 {
			s.carry = s.carry[:0]
			if len(data) > 0 && data[len(data)-1] == Marker[0] {
				s.carry = append(s.carry, Marker[0])
			}
			return
		}
		if len(data) < i+maxCarry {
			s.carry = append(s.carry[:0], data[i:]...)
			return
		}
		s.count++
		if r.timing && len(r.sample) < maxSamples {
			if sent := readStamp(data[i+len(Marker):]); sent > 0 {
				r.sample = append(r.sample, now-sent)
			}
		}
		data = data[i+maxCarry:]
	}
}

// tell writes down how far the slowest of the streams is that are read. The caller holds mu.
func (r *Readers) tell() {
	if r.progress == nil || time.Since(r.least) < progressEvery || len(r.streams) == 0 {
		return
	}
	r.least = time.Now()
	least, _ := r.extremes()
	r.progress.Set(least)
}

// extremes answers the counts of the slowest and the fastest of the streams that are read. The caller holds mu.
func (r *Readers) extremes() (least, most int64) {
	for i, s := range r.streams[min(r.stalled, len(r.streams)):] {
		if i == 0 {
			least, most = s.count, s.count
		}
		least, most = min(least, s.count), max(most, s.count)
	}
	return least, most
}
