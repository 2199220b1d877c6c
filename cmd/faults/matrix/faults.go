package matrix

import (
	"context"
	"time"

	"github.com/warren-gateway/warren/cmd/faults/world"
)

// Fault is something that happens to a gateway under load.
type Fault struct {
	Name  string
	Setup Setup
	// Do does it, one or several times, and returns when it is over.
	Do func(ctx context.Context, s *Stage) error
	// Leaves is the reason of a gap that must have come to one client at least, or the fault was none; "" for none. Several are
	// alternatives.
	Leaves []string
	// Quiet says that nothing may be missing at all.
	Quiet bool
	// Alone says that it watches for something that another fault would hide.
	Alone bool
	// Short puts it into the selection for every day.
	Short bool
}

// times repeats a fault with pauses in which the gateway may or may not get over it.
func times(low, high int, do func(context.Context, *Stage) error) func(context.Context, *Stage) error {
	return func(ctx context.Context, s *Stage) error {
		for range low + s.Rand(high-low+1) {
			s.Fault()
			if err := do(ctx, s); err != nil {
				return err
			}
			if !s.Wait(ctx, 300*time.Millisecond, 2500*time.Millisecond) {
				return ctx.Err()
			}
		}
		return nil
	}
}

// byOperator makes a fault of what an operator can do to the gateway's account at the broker.
func byOperator(do func(*world.VHost, context.Context, string) error) func(context.Context, *Stage) error {
	return times(2, 3, func(ctx context.Context, s *Stage) error { return do(s.VHost, ctx, s.name) })
}

// brokerFaults are done by the broker's hand, while it goes on.
func brokerFaults() []Fault {
	return []Fault{
		{Name: "connection closed by the broker", Short: true, Leaves: []string{"broker_reconnected"}, Do: byOperator((*world.VHost).CloseConnections)},
		{Name: "channel closed by the broker", Short: true, Leaves: []string{"queue_lost"}, Do: byOperator((*world.VHost).CloseChannels)},
		{Name: "channel killed inside the broker", Leaves: []string{"queue_lost", "broker_reconnected"}, Do: byOperator((*world.VHost).KillChannels)},
		{Name: "consumer cancelled", Leaves: []string{"queue_lost"}, Do: byOperator((*world.VHost).CancelConsumers)},
		{Name: "messages redelivered", Leaves: []string{"queue_lost"}, Do: byOperator((*world.VHost).Redeliver)},
		{Name: "queue deleted", Leaves: []string{"queue_lost"}, Do: byOperator((*world.VHost).DeleteQueues)},
		{Name: "queue's process killed", Leaves: []string{"queue_lost"}, Do: byOperator((*world.VHost).KillQueues)},
		{Name: "exchange deleted for a while", Setup: Setup{Sources: 2}, Leaves: []string{"binding_lost"}, Do: times(1, 1, deleteExchange(12*time.Second, 14*time.Second))},
		{Name: "exchange made again, with events", Setup: Setup{Events: true, Sources: 2}, Short: true, Leaves: []string{"binding_lost"}, Do: times(1, 2, deleteExchange(0, 1500*time.Millisecond))},
		{Name: "exchange made again, without events", Leaves: []string{"broker_reconnected"}, Do: remakeUnseen},
	}
}

// deleteExchange deletes an exchange and makes it again after a while.
func deleteExchange(low, high time.Duration) func(context.Context, *Stage) error {
	return func(ctx context.Context, s *Stage) error {
		pub := s.Pubs[0]
		if err := pub.Undeclare(); err != nil {
			return err
		}
		if !s.Wait(ctx, low, high) {
			return ctx.Err()
		}
		return pub.Declare()
	}
}

// remakeUnseen deletes an exchange and makes it again between two probes: the one loss that AMQP hides. The gateway is deaf until
// something else makes it bind again, and the gap which comes of that is where everything is missing.
func remakeUnseen(ctx context.Context, s *Stage) error {
	s.Fault()
	if err := deleteExchange(0, 50*time.Millisecond)(ctx, s); err != nil {
		return err
	}
	if !s.Wait(ctx, time.Second, 3*time.Second) {
		return ctx.Err()
	}
	s.Fault()
	return s.VHost.CloseConnections(ctx, s.name)
}

// nodeFaults are done to the broker as a process.
func nodeFaults() []Fault {
	own := Setup{Own: true}
	down := func(end func(*Stage) error, low, high time.Duration) func(context.Context, *Stage) error {
		return func(ctx context.Context, s *Stage) error {
			s.Fault()
			if err := end(s); err != nil {
				return err
			}
			if !s.Wait(ctx, low, high) {
				return ctx.Err()
			}
			return s.Node.Restart(ctx)
		}
	}
	stop := func(s *Stage) error { return s.Node.Stop() }
	kill := func(s *Stage) error { return s.Node.Kill() }
	reconnected := []string{"broker_reconnected"}
	return []Fault{
		{Name: "broker restarted", Setup: own, Leaves: reconnected, Do: down(stop, 0, time.Second)},
		{Name: "broker killed", Setup: own, Short: true, Leaves: reconnected, Do: down(kill, 0, time.Second)},
		{Name: "broker restarted slowly", Setup: own, Leaves: reconnected, Do: down(kill, 10*time.Second, 15*time.Second)},
		{Name: "broker stands still", Setup: own, Quiet: true, Do: times(1, 2, func(ctx context.Context, s *Stage) error {
			if err := s.Node.Pause(); err != nil {
				return err
			}
			s.Wait(ctx, 2*time.Second, 6*time.Second)
			return s.Node.Continue()
		})},
		{Name: "memory alarm", Setup: own, Quiet: true, Do: times(1, 2, func(ctx context.Context, s *Stage) error {
			if err := s.VHost.Alarm(ctx, true); err != nil {
				return err
			}
			s.Wait(ctx, 3*time.Second, 6*time.Second)
			return s.VHost.Alarm(context.WithoutCancel(ctx), false)
		})},
	}
}

// brokerNetworkFaults are done to the network between gateway and broker.
func brokerNetworkFaults() []Fault {
	setup := Setup{BrokerLink: true}
	return []Fault{
		{Name: "broker's network cut", Setup: setup, Short: true, Leaves: []string{"broker_reconnected"}, Do: times(2, 3, func(ctx context.Context, s *Stage) error {
			return s.weather(ctx, s.ToBroker, 0, 2*time.Second, world.Weather{Down: true})
		})},
		{Name: "broker's network swallows", Setup: setup, Leaves: []string{"broker_reconnected"}, Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			return s.weather(ctx, s.ToBroker, 22*time.Second, 26*time.Second, world.Weather{Swallow: true})
		}},
		{Name: "broker's network slow", Setup: setup, Quiet: true, Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			latency := s.Between(100*time.Millisecond, 400*time.Millisecond)
			return s.weather(ctx, s.ToBroker, 6*time.Second, 9*time.Second, world.Weather{Latency: latency, Jitter: latency / 2, Rate: 300_000})
		}},
		{Name: "broker's network lossy", Setup: setup, Leaves: []string{"broker_reconnected"}, Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			s.ToBroker.Break()
			return s.weather(ctx, s.ToBroker, 7*time.Second, 10*time.Second, world.Weather{Torn: true, Resets: 0.6, ResetWithin: 4 * time.Second})
		}},
	}
}

// weather makes the weather bad for a while.
func (s *Stage) weather(ctx context.Context, link *world.Link, low, high time.Duration, bad world.Weather) error {
	link.Set(bad)
	s.Wait(ctx, low, high)
	link.Set(world.Weather{})
	return ctx.Err()
}

// clientNetworkFaults are done to the network between clients and gateway.
func clientNetworkFaults() []Fault {
	setup := Setup{ClientLink: true, DeadAfter: 4 * time.Second}
	return []Fault{
		{Name: "clients away for longer than a stream lingers", Setup: setup, Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			return s.weather(ctx, s.ToGateway, 34*time.Second, 38*time.Second, world.Weather{Down: true})
		}},
		{Name: "clients' network cut", Setup: setup, Short: true, Quiet: true, Do: times(4, 7, func(ctx context.Context, s *Stage) error {
			return s.weather(ctx, s.ToGateway, 0, time.Second, world.Weather{Down: true})
		})},
		{Name: "clients' network swallows", Setup: setup, Quiet: true, Do: times(2, 2, func(ctx context.Context, s *Stage) error {
			return s.weather(ctx, s.ToGateway, 5*time.Second, 7*time.Second, world.Weather{Swallow: true})
		})},
		{Name: "clients' network slow", Setup: setup, Quiet: true, Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			latency := s.Between(100*time.Millisecond, 300*time.Millisecond)
			return s.weather(ctx, s.ToGateway, 6*time.Second, 9*time.Second, world.Weather{Latency: latency, Jitter: latency / 2, Rate: 20_000})
		}},
		{Name: "clients' network lossy", Setup: setup, Quiet: true, Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			s.ToGateway.Break()
			return s.weather(ctx, s.ToGateway, 6*time.Second, 9*time.Second, world.Weather{Torn: true, Resets: 0.8, ResetWithin: 2 * time.Second})
		}},
	}
}

// readerFaults are done by readers.
func readerFaults() []Fault {
	// The log holds 8 MiB: this fills it in some three seconds, and the sockets between in two more.
	setup := Setup{Sources: 2, Load: world.Load{Rate: 180, Pad: 8 << 10}, ReadBuffer: 128 << 10, DeadAfter: time.Minute}
	stall := func(low, high time.Duration) func(context.Context, *Stage) error {
		return func(ctx context.Context, s *Stage) error {
			s.Fault()
			for _, c := range s.Clients {
				c.Stall()
			}
			s.Wait(ctx, low, high)
			for _, c := range s.Clients {
				c.Release()
			}
			for _, p := range s.Pubs {
				p.SetLoad(world.Load{Rate: 100})
			}
			return ctx.Err()
		}
	}
	evicted := []string{"evicted"}
	return []Fault{
		{Name: "readers stall within the write timeout", Setup: setup, Short: true, Leaves: evicted, Do: stall(11*time.Second, 14*time.Second)},
		{Name: "messages above the bound", Setup: Setup{Sources: 2, ClientLink: true}, Short: true, Leaves: []string{"oversized"}, Do: times(4, 8, func(_ context.Context, s *Stage) error {
			s.Pubs[s.Rand(2)].Oversize(1 + s.Rand(3))
			if s.Rand(2) == 0 {
				s.ToGateway.Break()
			}
			return nil
		})},
		{Name: "half-open clients", Setup: setup, Alone: true, Do: halfOpen},
		{Name: "readers stall beyond the write timeout", Setup: setup, Leaves: evicted, Do: stall(24*time.Second, 27*time.Second)},
	}
}
