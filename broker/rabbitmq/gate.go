package rabbitmq

import (
	"slices"
	"sync"
)

// gate bounds how many queues are made again at once, and lets the urgent ones through first.
type gate struct {
	mu     sync.Mutex // guards the rest
	free   int
	urgent []chan struct{}
	others []chan struct{}
}

func newGate(n int) *gate { return &gate{free: n} }

// enter waits for its turn, and reports false when done was closed before.
func (g *gate) enter(done <-chan struct{}, urgent bool) bool {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	line := g.line(urgent)
	*line = append(*line, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-done:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(*line, turn); i >= 0 {
		*line = slices.Delete(*line, i, i+1)
		return false
	}
	return true // The turn came all the same; the caller leaves soon.
}

func (g *gate) line(urgent bool) *[]chan struct{} {
	if urgent {
		return &g.urgent
	}
	return &g.others
}

// leave lets the next one in.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := &g.urgent
	if len(*line) == 0 {
		line = &g.others
	}
	if len(*line) == 0 {
		g.free++
		return
	}
	close((*line)[0])
	*line = (*line)[1:]
}
