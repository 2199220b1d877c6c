package rabbitmq

import (
	"context"
	"log/slog"

	"github.com/warren-gateway/warren/broker"
)

// seldom is a slog.Handler for what may befall ten thousand queues, again and again: of each message it writes few lines, and
// how many it kept back. It is for a logger without attributes of its own.
type seldom struct {
	slog.Handler

	messages broker.Seldom[string]
}

// Handle implements slog.Handler.
func (h *seldom) Handle(ctx context.Context, r slog.Record) error {
	skipped, due := h.messages.Due(r.Message, r.Time)
	if !due {
		return nil
	}
	if skipped > 0 {
		r.AddAttrs(slog.Int("not_logged", skipped))
	}
	return h.Handler.Handle(ctx, r)
}
