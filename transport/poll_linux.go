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

// poller watches hijacked connections, with one goroutine for all of them: it
// tells streams that their client is gone, and WebSockets that there is
// something to read. A goroutine that reads from each would take more memory
// than all the rest of an idle stream. The poller is an epoll set that is itself
// watched by the runtime's poller, so it takes no thread.
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
	raw syscall.RawConn
	gen int32
}

// pollToken names a watched connection; the zero value is none.
type pollToken struct {
	index, gen int32
}

// What the poller waits for. An event comes once, until it is asked for again.
const (
	pollHangUp = unix.EPOLLRDHUP | unix.EPOLLONESHOT
	pollRead   = unix.EPOLLIN | pollHangUp
)

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

// watch tells st when its client hangs up. It reports false when the connection
// cannot be watched; then somebody has to read from it.
func (p *poller) watch(st *stream, conn net.Conn) bool {
	raw := rawConn(conn)
	if p.file == nil || raw == nil {
		return false
	}
	st.watched = p.take(st, raw)
	if err := p.ctl(st.watched, raw, unix.EPOLL_CTL_ADD, pollHangUp); err != nil {
		p.forget(st.watched)
		st.watched = pollToken{}
		return false
	}
	return true
}

// again asks for the next event: pollHangUp or pollRead.
func (p *poller) again(st *stream, events uint32) {
	p.mu.Lock()
	slot := p.slots[st.watched.index]
	p.mu.Unlock()
	if slot.st == st {
		// An error means that the connection is closed, which its owner knows.
		_ = p.ctl(st.watched, slot.raw, unix.EPOLL_CTL_MOD, events)
	}
}

func (p *poller) ctl(t pollToken, raw syscall.RawConn, op int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: t.index, Pad: t.gen}
	return control(raw, func(fd int) error { return unix.EpollCtl(p.epfd, op, fd, &event) })
}

// unwatch comes before the connection is closed.
func (p *poller) unwatch(st *stream) {
	if st.watched.index == 0 {
		return
	}
	if raw := p.forget(st.watched); raw != nil {
		_ = p.ctl(st.watched, raw, unix.EPOLL_CTL_DEL, 0)
	}
}

func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (p *poller) take(st *stream, raw syscall.RawConn) pollToken {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.slots[i].st, p.slots[i].raw = st, raw
		return pollToken{index: i, gen: p.slots[i].gen}
	}
	p.slots = append(p.slots, pollSlot{st: st, raw: raw})
	return pollToken{index: int32(len(p.slots) - 1)}
}

func (p *poller) forget(t pollToken) syscall.RawConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := &p.slots[t.index]
	if slot.gen != t.gen || slot.st == nil {
		return nil
	}
	raw := slot.raw
	*slot = pollSlot{gen: slot.gen + 1}
	p.free = append(p.free, t.index)
	return raw
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
			for {
				if n, waitErr = unix.EpollWait(int(fd), events, 0); !errors.Is(waitErr, unix.EINTR) {
					return waitErr != nil || n > 0
				}
			}
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
			slot.st.polled()
		}
	}
}

// close ends run.
func (p *poller) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}
