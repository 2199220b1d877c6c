package memory

import "github.com/warren-gateway/warren/broker"

// fifo is a ring of events that grows as needed and counts what is in it. The
// zero value is empty.
type fifo struct {
	ring     []pendingEvent // its length is a power of two, or 0
	first    int
	count    int
	messages int
	bytes    int // of bodies
}

type pendingEvent struct {
	event broker.Event
	bytes int
}

// firstRing is how many events the first ring holds, keptRing the largest ring
// that is kept when it runs empty: a queue that overflowed once shall not
// occupy a full ring for the rest of its life.
const (
	firstRing = 16
	keptRing  = 256
)

func (f *fifo) len() int { return f.count }

func (f *fifo) at(i int) *pendingEvent { return &f.ring[(f.first+i)&(len(f.ring)-1)] }

func (f *fifo) push(e broker.Event, bytes int) {
	if f.count == len(f.ring) {
		f.grow()
	}
	f.count++
	*f.at(f.count - 1) = pendingEvent{event: e, bytes: bytes}
	if isMessage(e) {
		f.messages++
		f.bytes += bytes
	}
}

func (f *fifo) grow() {
	ring := make([]pendingEvent, max(firstRing, 2*len(f.ring)))
	for i := range f.count {
		ring[i] = *f.at(i)
	}
	f.ring, f.first = ring, 0
}

// head returns the oldest event, nil if there is none.
func (f *fifo) head() broker.Event {
	if f.count == 0 {
		return nil
	}
	return f.at(0).event
}

func (f *fifo) pop() {
	p := f.at(0)
	if isMessage(p.event) {
		f.messages--
		f.bytes -= p.bytes
	}
	*p = pendingEvent{}
	f.first = (f.first + 1) & (len(f.ring) - 1)
	f.count--
	if f.count == 0 && len(f.ring) > keptRing {
		*f = fifo{}
	}
}

// dropOldestMessage takes out the oldest message, of which there is one, and
// leaves other events before it where they are.
func (f *fifo) dropOldestMessage() {
	i := 0
	for !isMessage(f.at(i).event) {
		i++
	}
	for ; i > 0; i-- {
		*f.at(i), *f.at(i - 1) = *f.at(i - 1), *f.at(i)
	}
	f.pop()
}

func isMessage(e broker.Event) bool {
	_, ok := e.(*broker.Delivery)
	return ok
}
