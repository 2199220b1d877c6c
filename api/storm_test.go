package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// TestCountsReturnToZeroAfterAStorm runs clients that create, attach, bind,
// delete and hang up at any moment, over a source that fails now and then. What
// the gate counts must be what there is, and nothing at the end.
func TestCountsReturnToZeroAfterAStorm(t *testing.T) {
	fake := brokertest.NewFake()
	g := newGateway(t, func(s *setup) {
		s.source = fake
		s.options.StreamLinger = 5 * time.Millisecond
		s.bounds.CreateRate, s.bounds.CreateRatePerCaller = 1e6, 1e6
		s.bounds.RequestRate, s.bounds.RequestBurst = 1e6, 1e6
		s.bounds.CreateBurstPerCaller = 1e6
		s.bounds.SubscriptionsPerCaller, s.bounds.StreamsPerCaller = 8, 12
	})
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 1))
			for range 40 {
				if rng.IntN(5) == 0 {
					fake.Fail(brokertest.OpOpen, broker.Errorf(broker.CodeBrokerTimeout, "storm"), errors.New("storm"))
				}
				g.gust(ctx, rng)
			}
		})
	}
	wg.Wait()
	for _, sub := range g.broker.All() {
		sub.End(broker.EndDeleted)
	}
	g.countsAreZero()
	g.eventually("no stream is open", func() bool {
		sse, ws := g.streams.Open()
		return sse+ws == 0 && len(g.broker.All()) == 0
	})
}

// gust is one client that does something and hangs up after a moment.
func (g *gateway) gust(ctx context.Context, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(1+rng.IntN(20))*time.Millisecond)
	defer cancel()
	binding := fmt.Sprintf(`{"bindings":[{"exchange":"x%d","routing_key":"k"}]}`, rng.IntN(5))
	method, path, body := "POST", "/v1/subscriptions", binding
	switch rng.IntN(5) {
	case 0:
		method, path, body = "GET", fmt.Sprintf("/v1/sse?exchange=x%d", rng.IntN(5)), ""
	case 1:
		method, path, body = "GET", fmt.Sprintf("/v1/sse?exchange=x%d&share=false", rng.IntN(5)), ""
	case 2, 3:
		if subs := g.broker.All(); len(subs) > 0 {
			sub := subs[rng.IntN(len(subs))]
			method, path = []string{"DELETE", "GET", "POST"}[rng.IntN(3)], "/v1/subscriptions/"+sub.ID()
			switch method {
			case "GET":
				path, body = path+"/sse", ""
			case "POST":
				path += "/bindings"
			}
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, g.base+path, strings.NewReader(body))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := g.client.Do(r)
	if err != nil {
		return // it hung up
	}
	_, _ = io.Copy(io.Discard, resp.Body) // until it hangs up
	_ = resp.Body.Close()
}
