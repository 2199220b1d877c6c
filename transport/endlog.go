package transport

import (
	"context"
	"log/slog"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// logEnd tells of a stream that ended, by few lines where a thousand clients leave at once.
func (s *Server) logEnd(e StreamEnd) {
	s.closes.add(e.Reason)
	if s.opts.OnEnd != nil {
		defer s.opts.OnEnd(e)
	}
	level := slog.LevelInfo
	if e.Reason == ReasonInternalError {
		level = slog.LevelWarn
	}
	ctx := context.Background()
	if !s.opts.Logger.Enabled(ctx, level) {
		return
	}
	skipped, due := s.ends.Due(e.Reason, time.Now())
	if !due {
		return
	}
	attrs := []slog.Attr{
		slog.String("transport", transportName(e.Transport)), slog.String("reason", string(e.Reason)),
		slog.Int("code", e.Code), slog.Duration("duration", e.Duration),
		slog.Uint64("messages", e.Messages), slog.Uint64("gaps", e.Gaps), slog.Uint64("bytes", e.Bytes),
	}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("not_logged", skipped))
	}
	s.opts.Logger.LogAttrs(ctx, level, "stream ended", attrs...)
}

func transportName(t broker.Transport) string {
	if t == broker.WS {
		return "ws"
	}
	return "sse"
}
