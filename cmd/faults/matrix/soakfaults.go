package matrix

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/warren-gateway/warren/cmd/faults/world"
)

// soakFault is one that a soak does again and again.
type soakFault struct {
	name string
	do   func(context.Context, *Stage) error
	// broker says that it strikes both gateways, mortal that it is for the one that may die.
	broker, mortal bool
}

// soakFaults are those of the matrix, once each, as a load that goes on allows.
func soakFaults() []soakFault {
	return slices.Concat(soakBrokerFaults(), soakNetworkFaults(), soakProcessFaults())
}

func soakBrokerFaults() []soakFault {
	operator := func(do func(*world.VHost, context.Context, string) error) func(context.Context, *Stage) error {
		return func(ctx context.Context, s *Stage) error { return do(s.VHost, ctx, s.name) }
	}
	down := func(end func(*Stage) error) func(context.Context, *Stage) error {
		return func(ctx context.Context, s *Stage) error {
			if err := end(s); err != nil {
				return err
			}
			s.Wait(ctx, 0, 5*time.Second)
			return s.Node.Restart(ctx)
		}
	}
	return []soakFault{
		{name: "connection closed by the broker", do: operator((*world.VHost).CloseConnections)},
		{name: "channel closed by the broker", do: operator((*world.VHost).CloseChannels)},
		{name: "channel killed inside the broker", do: operator((*world.VHost).KillChannels)},
		{name: "consumer cancelled", do: operator((*world.VHost).CancelConsumers)},
		{name: "messages redelivered", do: operator((*world.VHost).Redeliver)},
		{name: "queue deleted", do: operator((*world.VHost).DeleteQueues)},
		{name: "queue's process killed", do: operator((*world.VHost).KillQueues)},
		{name: "exchange made again", broker: true, do: soakExchange},
		{name: "broker restarted", broker: true, do: down(func(s *Stage) error { return s.Node.Stop() })},
		{name: "broker killed", broker: true, do: down(func(s *Stage) error { return s.Node.Kill() })},
		{name: "broker stands still", broker: true, do: func(ctx context.Context, s *Stage) error {
			if err := s.Node.Pause(); err != nil {
				return err
			}
			s.Wait(ctx, time.Second, 6*time.Second)
			return s.Node.Continue()
		}},
		{name: "memory alarm", broker: true, do: func(ctx context.Context, s *Stage) error {
			if err := s.VHost.Alarm(ctx, true); err != nil {
				return err
			}
			s.Wait(ctx, time.Second, 4*time.Second)
			return s.VHost.Alarm(context.WithoutCancel(ctx), false)
		}},
	}
}

// soakExchange deletes one of the exchanges for a moment.
func soakExchange(ctx context.Context, s *Stage) error {
	pub := s.Pubs[s.Rand(len(s.Pubs))]
	if err := pub.Undeclare(); err != nil {
		return err
	}
	s.Wait(ctx, 0, 2*time.Second)
	return pub.Declare()
}

func soakNetworkFaults() []soakFault {
	brokers := func(low, high time.Duration, w world.Weather) func(context.Context, *Stage) error {
		return func(ctx context.Context, s *Stage) error { return s.weather(ctx, s.ToBroker, low, high, w) }
	}
	clients := func(low, high time.Duration, w world.Weather) func(context.Context, *Stage) error {
		return func(ctx context.Context, s *Stage) error { return s.weather(ctx, s.ToGateway, low, high, w) }
	}
	return []soakFault{
		{name: "broker's network cut", do: brokers(0, 3*time.Second, world.Weather{Down: true})},
		{name: "broker's network swallows", do: brokers(5*time.Second, 25*time.Second, world.Weather{Swallow: true})},
		{name: "broker's network slow", do: brokers(3*time.Second, 8*time.Second, world.Weather{Latency: 80 * time.Millisecond, Jitter: 50 * time.Millisecond})},
		{name: "broker's network lossy", do: brokers(3*time.Second, 8*time.Second, world.Weather{Torn: true, Resets: 0.6, ResetWithin: 3 * time.Second})},
		{name: "clients' network cut", do: clients(0, 2*time.Second, world.Weather{Down: true})},
		{name: "clients' network swallows", do: clients(4*time.Second, 8*time.Second, world.Weather{Swallow: true})},
		{name: "clients' network slow", do: clients(3*time.Second, 8*time.Second, world.Weather{Latency: 100 * time.Millisecond, Rate: 40_000})},
		{name: "clients' network lossy", do: func(ctx context.Context, s *Stage) error {
			s.ToGateway.Break()
			return s.weather(ctx, s.ToGateway, 3*time.Second, 8*time.Second, world.Weather{Resets: 0.8, ResetWithin: 2 * time.Second})
		}},
	}
}

func soakProcessFaults() []soakFault {
	return []soakFault{
		{name: "flood", do: func(ctx context.Context, s *Stage) error { return soakFlood(ctx, s, 18_000) }},
		{name: "readers stall", do: soakStall},
		{name: "gateway stands still", do: func(ctx context.Context, s *Stage) error {
			if err := s.Gateway.Pause(); err != nil {
				return err
			}
			s.Wait(ctx, time.Second, 8*time.Second)
			return s.Gateway.Continue()
		}},
		{name: "gateway stands still until the queue overflows", do: func(ctx context.Context, s *Stage) error {
			if err := s.Gateway.Pause(); err != nil {
				return err
			}
			err := soakFlood(ctx, s, 13_000)
			return errors.Join(err, s.Gateway.Continue())
		}},
		{name: "gateway out of files", do: outOfFiles},
		{name: "gateway killed", mortal: true, do: func(ctx context.Context, s *Stage) error {
			s.Gateway.Kill()
			s.Wait(ctx, 0, 2*time.Second)
			return s.restart(ctx)
		}},
		{name: "gateway ends and starts", mortal: true, do: func(ctx context.Context, s *Stage) error {
			if _, err := s.Gateway.Stop(); err != nil {
				return err
			}
			return s.restart(ctx)
		}},
	}
}

// soakFlood publishes many messages of one source at once.
func soakFlood(ctx context.Context, s *Stage, messages int) error {
	pub := s.Pubs[s.Rand(len(s.Pubs))]
	pub.Flood(messages)
	return world.Poll(ctx, pollInterval, func() bool { return !pub.Flooding() })
}

// soakStall lets some readers read nothing while a flood goes by.
func soakStall(ctx context.Context, s *Stage) error {
	stalled := s.Clients[s.Rand(len(s.Clients)):]
	for _, c := range stalled {
		c.Stall()
	}
	err := soakFlood(ctx, s, 20_000)
	s.Wait(ctx, 2*time.Second, 25*time.Second)
	for _, c := range stalled {
		c.Release()
	}
	return err
}
