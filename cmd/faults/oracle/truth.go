package oracle

import (
	"slices"
	"sort"
	"sync"
	"time"
)

// Truth is what was published. It is safe for concurrent use. Make it with NewTruth.
type Truth struct {
	mu      sync.Mutex // guards sources
	sources map[string]*Source
}

// NewTruth returns the truth before anything was published.
func NewTruth() *Truth { return &Truth{sources: make(map[string]*Source)} }

// Source is a sequence of numbered messages to one exchange. It is safe for concurrent use.
type Source struct {
	name, exchange string

	mu    sync.Mutex // guards the rest
	began []time.Duration
	taken []bool // the broker confirmed it
}

// Source returns the source with the name, and makes it at the first call; the exchange is what bindings name.
func (t *Truth) Source(name, exchange string) *Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sources[name]
	if s == nil {
		s = &Source{name: name, exchange: exchange}
		t.sources[name] = s
	}
	return s
}

// Name returns the source's name.
func (s *Source) Name() string { return s.name }

// Exchange returns the exchange that it publishes to.
func (s *Source) Exchange() string { return s.exchange }

// Begin takes the next number for a message that is published from now on. Times count from an instant that all clients and
// publishers share, and never go back.
func (s *Source) Begin(now time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = append(s.began, now)
	s.taken = append(s.taken, false)
	return len(s.began)
}

// Confirm says that the broker has taken a message. Without it, the message may arrive or not.
func (s *Source) Confirm(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[number-1] = true
}

// Excuse says that the messages from first to last may be missing without a word, for a reason that the documentation states.
func (s *Source) Excuse(first, last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := max(first, 1); n <= min(last, len(s.taken)); n++ {
		s.taken[n-1] = false
	}
}

// Last returns the newest number, 0 before the first.
func (s *Source) Last() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.began)
}

// Taken returns how many messages the broker confirmed.
func (s *Source) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, taken := range s.taken {
		if taken {
			n++
		}
	}
	return n
}

// LastTaken returns the newest number that the broker confirmed, 0 if there is none.
func (s *Source) LastTaken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.taken); n > 0; n-- {
		if s.taken[n-1] {
			return n
		}
	}
	return 0
}

// view is a source at the time of a check.
type view struct {
	*Source
	began []time.Duration
	sum   []int // sum[n] messages up to number n were confirmed
}

func (s *Source) view() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &view{Source: s, began: slices.Clip(s.began), sum: make([]int, len(s.began)+1)}
	for i, taken := range s.taken {
		v.sum[i+1] = v.sum[i]
		if taken {
			v.sum[i+1]++
		}
	}
	return v
}

func (v *view) last() int { return len(v.began) }

// required returns how many of the messages from first to last must have arrived or be counted.
func (v *view) required(first, last int) int { return v.sum[last] - v.sum[first-1] }

// beganBy returns the newest number that was begun by a time.
func (v *view) beganBy(at time.Duration) int {
	return sort.Search(len(v.began), func(i int) bool { return v.began[i] > at })
}
