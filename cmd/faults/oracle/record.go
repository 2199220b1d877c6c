package oracle

import (
	"fmt"
	"sync"
	"time"
)

// Kind says what an item of a record is.
type Kind uint8

// The kinds of items.
const (
	_ Kind = iota
	// Ready opens a connection.
	Ready
	// Run is one or more messages of one source with consecutive numbers and offsets.
	Run
	// Gap says that messages are missing.
	Gap
	// Bindings is a binding marker.
	Bindings
	// Fresh says that the client was told that its subscription is gone for good, and that it made another one: what is
	// published in between is its own business.
	Fresh
)

// Unknown is the count of a gap that has none.
const Unknown int64 = -1

// Item is one thing that a client got.
type Item struct {
	Kind Kind
	// At is when the client got it, the newest message of a run.
	At time.Duration
	// Pos is its event id, of the first message of a run.
	Pos Position

	Source string // of a run: whose, the first number and how many
	First  int
	Count  int

	Asked   string // of ready: the position that the client gave, as it gave it
	Resumed bool

	Reason string // of a gap
	Missed int64
	Since  Position

	Missing []string // of ready and bindings: the exchanges whose bindings are missing
}

// last returns the newest number of a run.
func (i *Item) last() int { return i.First + i.Count - 1 }

// Record is what one client got over all its connections. It is safe for concurrent use. Make it with NewRecord.
type Record struct {
	name    string
	sources []string

	mu       sync.Mutex // guards the rest
	items    []Item
	trouble  []string // of the client itself: what no frame may look like
	asked    string
	opening  bool // nothing has come on this connection yet
	ended    bool
	conns    int
	messages int
	newest   map[string]int
}

// NewRecord returns the record of a client that listens to these sources and no others.
func NewRecord(name string, sources ...*Source) *Record {
	r := &Record{name: name, newest: make(map[string]int)}
	for _, s := range sources {
		r.sources = append(r.sources, s.Name())
	}
	return r
}

// Name returns the client's name.
func (r *Record) Name() string { return r.name }

// Connect says that the client opens a connection with this position, "" for none.
func (r *Record) Connect(asked string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.opening = asked, true
	r.conns++
}

// Fresh says that the client begins anew, after it was told that its subscription is gone for good.
func (r *Record) Fresh(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items = append(r.items, Item{Kind: Fresh, At: now})
}

// End says that the client leaves: what comes from now on it need not get.
func (r *Record) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// Violate notes what no client should ever see.
func (r *Record) Violate(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.trouble) < maxProblems {
		r.trouble = append(r.trouble, fmt.Sprintf(format, args...))
	}
}

// Take adds a frame as it came, and returns what it says.
func (r *Record) Take(now time.Duration, data []byte) Frame {
	f, err := Parse(data)
	if err != nil {
		r.Violate("%v", err)
		return f
	}
	r.add(now, &f)
	return f
}

func (r *Record) add(now time.Duration, f *Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opening && f.Type != "ready" && f.Type != "bye" && len(r.trouble) < maxProblems {
		r.trouble = append(r.trouble, "the first frame of a connection is of type "+f.Type)
	}
	r.opening = false
	item := f.item
	if item.Kind == 0 {
		return
	}
	item.At = now
	if item.Kind == Ready {
		item.Asked = r.asked
	}
	if item.Kind == Run {
		r.messages++
		r.newest[item.Source] = item.First
		if r.extend(&item) {
			return
		}
	}
	r.items = append(r.items, item)
}

// extend makes the newest run longer, if the message goes on with it.
func (r *Record) extend(item *Item) bool {
	if len(r.items) == 0 {
		return false
	}
	run := &r.items[len(r.items)-1]
	if run.Kind != Run || run.Source != item.Source || run.Pos.Stream != item.Pos.Stream ||
		run.First+run.Count != item.First || run.Pos.Offset+uint64(run.Count) != item.Pos.Offset {
		return false
	}
	run.Count++
	run.At = item.At
	return true
}

// Newest returns the newest number of a source that the client got.
func (r *Record) Newest(source string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest[source]
}

// Messages returns how many messages the client got.
func (r *Record) Messages() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages
}

// Connections returns how often the client has connected.
func (r *Record) Connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns
}

// IsReady reports whether the client has had a ready.
func (r *Record) IsReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.items) > 0
}

// Gaps returns how many gaps of each reason the client got.
func (r *Record) Gaps() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	gaps := make(map[string]int)
	for i := range r.items {
		if r.items[i].Kind == Gap {
			gaps[r.items[i].Reason]++
		}
	}
	return gaps
}

// Items returns a copy of what the client got, for reports.
func (r *Record) Items() []Item {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Item(nil), r.items...)
}
