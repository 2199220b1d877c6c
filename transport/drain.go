package transport

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// How the drain window is used: byes begin in its first part, so that there is
// time to write what readers can still take, and for them to answer. Few
// streams need no spreading, and nobody likes to wait for the window.
const (
	drainSpread = 0.6
	drainPer    = 2 * time.Millisecond
)

// abortGrace is how long Drain waits for what it has aborted.
const abortGrace = 250 * time.Millisecond

// Drain ends all streams: each writes what its log has ready, says bye and
// closes, at a time spread over the window. New streams are refused from the
// beginning. Drain returns when all streams are gone; those that are left at
// the end of the window, or of ctx, are closed without further ado. A stream
// over HTTP/2 whose connection takes nothing cannot be: it goes with its
// connection, which is the HTTP server's to close.
func (s *Server) Drain(ctx context.Context) {
	sse, ws := s.Open()
	s.drained.Store(int64(sse + ws))
	s.mu.Lock()
	s.draining.Store(true)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.opts.DrainWindow)
	defer cancel()
	gone := s.streams.empty()
	s.spread(ctx, gone)
	select {
	case <-gone:
	case <-ctx.Done():
		s.wheel.each(func(st *stream) { st.abort() })
		select {
		case <-gone:
		case <-time.After(abortGrace):
		}
	}
}

// spread tells each open stream to end, at its time.
func (s *Server) spread(ctx context.Context, gone <-chan struct{}) {
	var open []*stream
	s.wheel.each(func(st *stream) { open = append(open, st) })
	window := s.opts.DrainWindow
	if end, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(end))
	}
	window = min(time.Duration(drainSpread*float64(window)), drainPer*time.Duration(len(open)))
	at := make([]time.Duration, len(open))
	for i := range at {
		at[i] = time.Duration(rand.Float64() * float64(window)) //nolint:gosec // jitter, no secret
	}
	slices.Sort(at)
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, st := range open {
		timer.Reset(at[i] - time.Since(begun))
		select {
		case <-timer.C:
			st.notify(flagDrain)
		case <-gone:
			return
		case <-ctx.Done():
			return
		}
	}
}
