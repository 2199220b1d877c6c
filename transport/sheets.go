package transport

import "github.com/warren-gateway/warren/broker"

// crowd is what a worker has for streams of one kind that are sent the same.
type crowd struct {
	seen   glance
	sheets *sheets // nil until there is a crowd
}

// find returns where the first of the frames lie for st: n of them, in the sheet,
// behind skip others. It returns 0 where they are not in sheets, and shall not be: if
// others are sent the same is for expected to say.
func (c *crowd) find(b *batch, st *stream, frames []broker.Frame, expected bool) (in *sheet, skip, n int) {
	if c.sheets != nil {
		if in, skip, n = c.sheets.find(b, st, frames); n > 0 {
			c.sheets.misses = 0
			return in, skip, n
		}
	}
	if !expected {
		return nil, 0, 0
	}
	if c.sheets == nil {
		c.sheets = st.srv.workers.takeSheets(st.transport)
	}
	if c.sheets == nil {
		return nil, 0, 0
	}
	return c.sheets.turnTo(b, st, frames)
}

// sheets are where a worker keeps what a crowd reads: the newest events of one
// log in two files in memory, of which one is filled up while who is behind has
// the other. From there the kernel sends them to any number of sockets without
// a copy for each: to a thousand readers the same bytes go from the same memory, which
// stays in the processor's caches, and what waits in their sockets is there once.
//
// A socket refers to what it has not sent or its peer not acknowledged, so no
// byte is ever written a second time: what is added lies behind it, and a file that
// begins anew has been cut to nothing and gets other memory. The kernel frees what
// sockets refer to when the last has let go.
type sheets struct {
	newer, older *sheet
	// misses is how many turns in a row had no use of what is here, and would have
	// had of something else.
	misses int
}

// find is crowd.find for frames that are there or come next.
func (s *sheets) find(b *batch, st *stream, frames []broker.Frame) (in *sheet, skip, n int) {
	first := frames[0].Offset()
	if skip, ok := s.older.lies.before(st, first); ok && skip < len(s.older.lies.ends) {
		return s.older, skip, min(len(s.older.lies.ends)-skip, len(frames))
	}
	skip, ok := s.newer.lies.before(st, first)
	if !ok {
		return nil, 0, 0
	}
	there := min(len(s.newer.lies.ends)-skip, len(frames))
	switch missing := frames[there:]; {
	case s.newer.size+longest(missing) <= sheetBytes:
		if !s.newer.fill(b, st, missing) {
			return nil, 0, 0
		}
		return s.newer, skip, len(frames)
	case there > 0: // the next sheet has the others
		return s.newer, skip, there
	}
	s.newer, s.older = s.older, s.newer
	return s.begin(b, st, frames)
}

// begin has the newer sheet begin anew with the frames.
func (s *sheets) begin(b *batch, st *stream, frames []broker.Frame) (in *sheet, skip, n int) {
	s.newer.reset()
	if longest(frames) > sheetBytes {
		return nil, 0, 0
	}
	s.newer.lies.begin(st, frames[0].Offset())
	if !s.newer.fill(b, st, frames) {
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
	s.newer, s.older = s.older, s.newer
	return s.begin(b, st, frames)
}

// fill adds the frames. After false the sheet has nothing.
func (t *sheet) fill(b *batch, st *stream, frames []broker.Frame) bool {
	if len(frames) == 0 {
		return true
	}
	var head [maxHeader]byte
	b.reset()
	for i := range frames {
		before, body := st.parts(frames[i], &head)
		if !b.room(len(before)+len(body)) && !t.take(b) {
			return false
		}
		b.add(before, body)
		t.lies.ends = append(t.lies.ends, t.size+b.size)
	}
	return t.take(b)
}

// take moves what was added to b here.
func (t *sheet) take(b *batch) bool {
	b.seal()
	ok := t.append(b.rest, b.size)
	b.reset()
	if !ok {
		t.reset()
	}
	return ok
}

// reset begins anew.
func (t *sheet) reset() {
	t.lies.forget()
	t.size = 0
	t.truncate()
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
