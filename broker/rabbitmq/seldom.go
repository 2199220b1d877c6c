package rabbitmq

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// logEvery is how often one message about a queue or binding gets a line in the log: what befalls one may befall ten thousand,
// again and again, and the log shall say so and not say it ten thousand times.
const logEvery = 10 * time.Second

// seldom is a slog.Handler that writes one line per message and logEvery, and how many it kept back.
type seldom struct {
	slog.Handler

	mu        sync.Mutex // guards byMessage
	byMessage map[string]*keptBack
}

type keptBack struct {
	next    time.Time
	skipped int
}

// Handle implements slog.Handler.
func (h *seldom) Handle(ctx context.Context, r slog.Record) error {
	skipped, due := h.due(r.Message, r.Time)
	if !due {
		return nil
	}
	if skipped > 0 {
		r.AddAttrs(slog.Int("not_logged", skipped))
	}
	return h.Handler.Handle(ctx, r)
}

// due reports whether a line may be written, and how many were not since the last.
func (h *seldom) due(message string, now time.Time) (skipped int, due bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.byMessage[message]
	if k == nil {
		if h.byMessage == nil {
			h.byMessage = make(map[string]*keptBack)
		}
		k = &keptBack{}
		h.byMessage[message] = k
	}
	if now.Before(k.next) {
		k.skipped++
		return 0, false
	}
	skipped, k.skipped, k.next = k.skipped, 0, now.Add(logEvery)
	return skipped, true
}
