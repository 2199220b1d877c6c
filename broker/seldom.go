package broker

import (
	"sync"
	"time"
)

// SeldomEvery is how often lines of one kind get into a log by way of Seldom.
const SeldomEvery = 10 * time.Second

// Seldom keeps a flood of events from becoming a flood of lines in a log: of each kind it lets one through every
// SeldomEvery, and counts the others. Kinds must be few, as all are remembered. The zero value is ready; it is safe for
// concurrent use.
type Seldom[K comparable] struct {
	mu     sync.Mutex // guards byKind
	byKind map[K]*keptBack
}

type keptBack struct {
	next    time.Time
	skipped int
}

// Due reports whether a line may be written, and how many were not since the last of its kind.
func (s *Seldom[K]) Due(kind K, now time.Time) (skipped int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.byKind[kind]
	if k == nil {
		if s.byKind == nil {
			s.byKind = make(map[K]*keptBack)
		}
		k = &keptBack{}
		s.byKind[kind] = k
	}
	if now.Before(k.next) {
		k.skipped++
		return 0, false
	}
	skipped, k.skipped, k.next = k.skipped, 0, now.Add(SeldomEvery)
	return skipped, true
}
