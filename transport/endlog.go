package transport

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// logEvery is how often one reason gets a line in the log: when a thousand
// clients leave at once, the log shall say so and not say it a thousand times.
const logEvery = 10 * time.Second

// endLog writes one line per reason and logEvery, and how many it kept back.
type endLog struct {
	mu       sync.Mutex // guards byReason
	byReason map[Reason]*endCount
}

type endCount struct {
	next    time.Duration
	skipped int
}

// due reports whether a line may be written, and how many were not since the last.
func (l *endLog) due(reason Reason, now time.Duration) (skipped int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.byReason[reason]
	if c == nil {
		if l.byReason == nil {
			l.byReason = map[Reason]*endCount{}
		}
		c = &endCount{}
		l.byReason[reason] = c
	}
	if now < c.next {
		c.skipped++
		return 0, false
	}
	skipped, c.skipped, c.next = c.skipped, 0, now+logEvery
	return skipped, true
}

// logEnd tells of a stream that ended.
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
	skipped, due := s.ends.due(e.Reason, s.now())
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
