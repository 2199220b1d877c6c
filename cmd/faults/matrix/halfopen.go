package matrix

import (
	"context"
	"fmt"
	"time"

	"github.com/warren-gateway/warren/cmd/faults/client"
	"github.com/warren-gateway/warren/cmd/faults/world"
)

const (
	// halfOpenStreams is how many peers vanish.
	halfOpenStreams = 40
	// halfOpenPatience bounds how long the gateway may keep their streams: what fills the buffers between, the write timeout of
	// 20 seconds, and a busy machine.
	halfOpenPatience = 60 * time.Second
)

// halfOpen has peers vanish without a word, as those do whose network is gone: the gateway must notice, and nobody else.
func halfOpen(ctx context.Context, s *Stage) error {
	link, err := world.NewLink(s.Gateway.Host(), uint64(s.Rand(1<<30)))
	if err != nil {
		return err
	}
	defer link.Close()
	before := s.streams(ctx)
	peers := make([]*client.Client, halfOpenStreams)
	for i := range peers {
		kind := client.SSEQuery
		if i%2 == 0 {
			kind = client.WSQuery
		}
		peers[i] = client.Start(ctx, client.Options{
			Kind: kind, Name: fmt.Sprintf("peer-%d", i), URL: "http://" + link.Addr(), Sources: s.Clients[0].Sources(), Clock: s.clock,
			DeadAfter: time.Hour, ReadBuffer: s.setup.ReadBuffer,
		})
		defer peers[i].Stop()
	}
	wait, cancel := context.WithTimeout(ctx, s.settle)
	defer cancel()
	if err := world.Poll(wait, pollInterval, func() bool { return s.streams(ctx) >= before+halfOpenStreams }); err != nil {
		return fmt.Errorf("opening streams: %w", err)
	}
	s.Fault()
	link.Set(world.Weather{Swallow: true})
	begin := time.Now()
	gone, cancel := context.WithTimeout(ctx, halfOpenPatience)
	defer cancel()
	if err := world.Poll(gone, 10*pollInterval, func() bool { return s.streams(ctx) <= before }); err != nil {
		return fmt.Errorf("%d of %d half-open streams are left after %v", s.streams(ctx)-before, halfOpenStreams, halfOpenPatience)
	}
	s.Note("half-open streams were gone after %v", time.Since(begin).Round(time.Second))
	for _, p := range s.Pubs {
		p.SetLoad(world.Load{Rate: 100})
	}
	return nil
}

// streams returns how many streams the gateway has open.
func (s *Stage) streams(ctx context.Context) int {
	return int(s.Gateway.Metric(ctx, `warren_streams{transport="sse"}`) + s.Gateway.Metric(ctx, `warren_streams{transport="ws"}`))
}
