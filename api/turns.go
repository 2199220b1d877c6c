package api

import (
	"context"
	"sync"
)

// turns lets one at a time of each caller do what is dear; the others wait in
// line. The zero value is ready.
type turns struct {
	mu    sync.Mutex
	lines map[string]*line
}

// line is those of one caller who have their turn or wait for it.
type line struct {
	turn   chan struct{} // holds one value while nobody has it
	people int           // guarded by turns.mu
}

// take waits for the turn of key, and returns what ends it; or the error of ctx.
func (t *turns) take(ctx context.Context, key string) (end func(), err error) {
	t.mu.Lock()
	l := t.lines[key]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		if t.lines == nil {
			t.lines = map[string]*line{}
		}
		t.lines[key] = l
	}
	l.people++
	t.mu.Unlock()

	select {
	case <-l.turn:
		return func() {
			l.turn <- struct{}{}
			t.leave(key, l)
		}, nil
	case <-ctx.Done():
		t.leave(key, l)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(key string, l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.people--; l.people == 0 {
		delete(t.lines, key)
	}
}
