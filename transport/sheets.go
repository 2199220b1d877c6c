package transport

import (
	"log/slog"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// crowd is what a worker has for streams of one kind that are sent the same.
type crowd struct {
	seen     glance
	expected bool    // others are sent what the stream of this turn is
	sheets   *sheets // nil until there is a crowd, and while the worker rests
	doubted  bool    // the write from the sheets that came before was refused
}

// find returns where the first of the frames lie for st: n of them, in the sheet,
// behind skip others. It returns 0 where they do not; it puts them there if others
// are expected.
func (c *crowd) find(b *batch, st *stream, frames []broker.Frame) (in *sheet, skip, n int) {
	if c.sheets == nil {
		c.sheets = st.srv.workers.takeSheets(st.transport, c.expected)
	}
	s := c.sheets
	if s == nil {
		return nil, 0, 0
	}
	in, skip, n = s.find(b, st, frames, c.expected)
	if n == 0 && c.expected && !s.refused {
		in, skip, n = s.turnTo(b, st, frames)
	}
	switch {
	case s.refused:
		c.drop(st)
	case n > 0:
		s.used = st.srv.now()
	}
	return in, skip, n
}

// drop gives up sheets for which the system does not do what is needed. There
// will be no others in their place for a while.
func (c *crowd) drop(st *stream) {
	c.sheets.close()
	c.sheets = nil
	w := st.srv.workers
	w.refused(st.transport)
	w.made[st.transport].Add(-1)
	st.srv.opts.Logger.Warn("the system refuses to send a crowd what lies in memory: it is copied for each stream",
		slog.Duration("tried_again_after", sheetRest))
}

// sheets are where a worker keeps what a crowd reads: the newest events of a log
// in two files in memory, of which one is filled up while who is behind has the
// other. From there the kernel sends them to any number of sockets without
// a copy for each: to a thousand readers the same bytes go from the same memory, which
// stays in the processor's caches, and what waits in their sockets is there once.
//
// A socket refers to what it has not sent or its peer not acknowledged, so no
// byte is ever written a second time: what is added lies behind it, and a file that
// begins anew has been cut to nothing and gets other memory. The kernel frees what
// sockets refer to when the last has let go.
type sheets struct {
	newer, older *sheet
	// misses is how often in a row what is here was of no use, and something else
	// would have been.
	misses int
	used   time.Duration // when, on the server's clock
	// refused says that the system does not do what is needed.
	refused bool
}

// find is crowd.find for frames that are there or come next.
func (s *sheets) find(b *batch, st *stream, frames []broker.Frame, expected bool) (in *sheet, skip, n int) {
	first := frames[0].Offset()
	if skip, ok := s.older.lies.before(st, first); ok && skip < len(s.older.lies.ends) {
		s.misses = 0
		return s.older, skip, min(len(s.older.lies.ends)-skip, len(frames))
	}
	skip, ok := s.newer.lies.before(st, first)
	if !ok {
		return nil, 0, 0
	}
	there := min(len(s.newer.lies.ends)-skip, len(frames))
	if there > 0 {
		s.misses = 0
	}
	switch missing := frames[there:]; {
	case len(missing) == 0 || !expected:
		return s.newer, skip, there
	case s.newer.size+longest(missing) <= sheetBytes:
		if !s.fill(b, st, missing) {
			return nil, 0, 0
		}
		return s.newer, skip, len(frames)
	case there > 0: // the next sheet has the others
		return s.newer, skip, there
	}
	return s.begin(b, st, frames)
}

// begin has the older sheet begin anew with the frames, as the newer one.
func (s *sheets) begin(b *batch, st *stream, frames []broker.Frame) (in *sheet, skip, n int) {
	s.newer, s.older = s.older, s.newer
	if s.reset(s.newer); s.refused {
		return nil, 0, 0
	}
	s.newer.lies.begin(st, frames[0].Offset())
	if !s.fill(b, st, frames) {
		return nil, 0, 0
	}
	return s.newer, 0, len(frames)
}

// turnTo has the sheets begin anew with frames that they do not have, unless
// others still have use of what they have. A crowd goes forward: what lies behind
// it stays for who is late.
func (s *sheets) turnTo(b *batch, st *stream, frames []broker.Frame) (in *sheet, skip, n int) {
	ahead := s.newer.lies.of(st) && frames[0].Offset() > s.newer.lies.next()
	if s.misses++; !ahead && s.newer.lies.first > 0 && s.misses <= sheetPatience {
		return nil, 0, 0
	}
	s.misses = 0
	return s.begin(b, st, frames)
}

// fill adds the frames to the newer sheet, where there is room for them.
func (s *sheets) fill(b *batch, st *stream, frames []broker.Frame) bool {
	t := s.newer
	if t.size != t.lies.place(len(t.lies.ends)) { // an earlier turn has panicked
		s.reset(t)
		return false
	}
	var head [maxHeader]byte
	b.reset()
	for i := range frames {
		before, body := st.parts(frames[i], &head)
		if !b.room(len(before)+len(body)) && !s.take(b) {
			return false
		}
		b.add(before, body)
		t.lies.ends = append(t.lies.ends, t.size+b.size)
	}
	return s.take(b)
}

// take moves what was added to b to the newer sheet.
func (s *sheets) take(b *batch) bool {
	b.seal()
	ok := s.newer.append(b)
	b.reset()
	if !ok {
		s.reset(s.newer)
		s.refused = true
	}
	return ok
}

// reset has a sheet have nothing.
func (s *sheets) reset(t *sheet) {
	t.lies.forget()
	t.size = 0
	if !t.truncate() { // what comes would overwrite what sockets refer to
		s.refused = true
	}
}

// tidy frees what nobody has had use of for a while.
func (s *sheets) tidy(now time.Duration) {
	if now-s.used > sheetIdle && s.newer.size+s.older.size > 0 {
		s.reset(s.newer)
		s.reset(s.older)
	}
}

// passed returns how many of the n events behind the first skip end before upTo,
// and how much of the next one does.
func (t *sheet) passed(skip, n, upTo int) (events, cut int) {
	for events < n && t.lies.ends[skip+events] <= upTo {
		events++
	}
	if events == n {
		return n, 0
	}
	return events, upTo - t.lies.place(skip+events)
}
