package transport

import (
	"net"
	"sync"
	"time"
)

// stallChecks is how often the write timeout is divided to look for progress.
const stallChecks = 4

// stallGuard ends a write in which the client's end acknowledges nothing for
// the write timeout. A deadline alone could not tell a stalled client from a
// slow one: the kernel holds megabytes per socket, and lets a writer go on only
// when a third of that is free again.
type stallGuard struct {
	conn net.Conn
	step time.Duration

	mu    sync.Mutex // guards all below
	acked uint64
	quiet int // checks in a row without progress
	fired bool
	done  bool
	timer *time.Timer
}

// guardStall watches the write on conn that comes next, until stop.
func guardStall(conn net.Conn, timeout time.Duration) *stallGuard {
	g := &stallGuard{conn: conn, step: max(timeout/stallChecks, time.Millisecond), acked: acknowledged(conn)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = time.AfterFunc(g.step, g.check)
	return g
}

func (g *stallGuard) check() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done {
		return
	}
	g.quiet++
	if acked := acknowledged(g.conn); acked != g.acked {
		g.acked, g.quiet = acked, 0
	}
	if g.quiet >= stallChecks {
		g.fired = true
		_ = g.conn.SetWriteDeadline(time.Unix(1, 0))
		return
	}
	g.timer.Reset(g.step)
}

// stop ends the watch. fired says that there is a deadline now that has passed.
func (g *stallGuard) stop() (fired bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = true
	g.timer.Stop()
	return g.fired
}
