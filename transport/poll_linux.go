package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller watches hijacked connections for their client's end, with one
// goroutine for all of them: a goroutine that reads from each would be a third
// of what an idle stream takes. It is an epoll set that is itself watched by
// the runtime's poller, so it takes no thread.
type poller struct {
	logger *slog.Logger
	file   *os.File // the epoll set; nil if the system refused one
	epfd   int

	mu    sync.Mutex // guards slots and free
	slots []pollSlot
	free  []int32
}

// pollSlot is one watched connection. gen tells the events of a slot's earlier
// owner from those of the present one.
type pollSlot struct {
	st  *stream
	gen int32
}

// pollToken names a watched connection; the zero value is none.
type pollToken struct {
	index, gen int32
}

func newPoller(logger *slog.Logger) *poller {
	p := &poller{logger: logger, slots: make([]pollSlot, 1)} // slot 0 is no token
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		logger.Warn("no epoll: each stream takes a goroutine more", slog.Any("error", err))
		return p
	}
	p.epfd = fd
	p.file = os.NewFile(uintptr(fd), "epoll")
	return p
}

// watch tells st when its client is gone. It reports false when the connection
// cannot be watched; then somebody has to read from it.
func (p *poller) watch(conn net.Conn, st *stream) (pollToken, bool) {
	raw := rawConn(conn)
	if p.file == nil || raw == nil {
		return pollToken{}, false
	}
	t := p.take(st)
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: t.index, Pad: t.gen}
	err := control(raw, func(fd int) error { return unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &event) })
	if err != nil {
		p.forget(t)
		return pollToken{}, false
	}
	return t, true
}

// unwatch must come before the connection is closed: the number of its
// descriptor may be another's right after.
func (p *poller) unwatch(conn net.Conn, t pollToken) {
	if t.index == 0 {
		return
	}
	if raw := rawConn(conn); raw != nil {
		_ = control(raw, func(fd int) error { return unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil) })
	}
	p.forget(t)
}

func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (p *poller) take(st *stream) pollToken {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.slots[i].st = st
		return pollToken{index: i, gen: p.slots[i].gen}
	}
	p.slots = append(p.slots, pollSlot{st: st})
	return pollToken{index: int32(len(p.slots) - 1)} //nolint:gosec // fewer than the descriptors of a process
}

func (p *poller) forget(t pollToken) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := &p.slots[t.index]
	if slot.gen != t.gen || slot.st == nil {
		return
	}
	slot.st = nil
	slot.gen++
	p.free = append(p.free, t.index)
}

// run hands events to their streams until close.
func (p *poller) run() {
	if p.file == nil {
		return
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		p.logger.Error("epoll set is of no use", slog.Any("error", err))
		return
	}
	events := make([]unix.EpollEvent, 128)
	for {
		var n int
		var waitErr error
		err := raw.Read(func(fd uintptr) bool {
			n, waitErr = unix.EpollWait(int(fd), events, 0)
			return waitErr != nil && !errors.Is(waitErr, unix.EINTR) || n > 0
		})
		if err != nil { // closed
			return
		}
		if waitErr != nil {
			p.logger.Error("hang-ups are not noticed any more", slog.Any("error", fmt.Errorf("epoll_wait: %w", waitErr)))
			return
		}
		p.dispatch(events[:n])
	}
}

func (p *poller) dispatch(events []unix.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if slot := p.slots[e.Fd]; slot.gen == e.Pad && slot.st != nil {
			slot.st.hangUp()
		}
	}
}

// close ends run.
func (p *poller) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}
