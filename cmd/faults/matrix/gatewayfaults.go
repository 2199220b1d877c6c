package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/warren-gateway/warren/cmd/faults/world"
)

// gatewayFaults are done to the gateway's process.
func gatewayFaults() []Fault {
	return []Fault{
		{Name: "gateway stands still until the queue overflows", Setup: Setup{Sources: 2}, Short: true, Leaves: []string{"queue_overflow"}, Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			if err := s.Gateway.Pause(); err != nil {
				return err
			}
			for _, p := range s.Pubs {
				p.Flood((12_000 + s.Rand(4000)) / len(s.Pubs))
			}
			err := s.flooded(ctx)
			return errors.Join(err, s.Gateway.Continue())
		}},
		{Name: "gateway ends and starts", Do: func(ctx context.Context, s *Stage) error {
			s.Fault()
			took, err := s.Gateway.Stop()
			if err != nil {
				return fmt.Errorf("after %v: %w", took, err)
			}
			return s.restart(ctx)
		}},
		{Name: "gateway killed", Short: true, Do: times(1, 2, func(ctx context.Context, s *Stage) error {
			s.Gateway.Kill()
			s.Wait(ctx, 0, time.Second)
			return s.restart(ctx)
		})},
		{Name: "gateway replaced under load", Setup: Setup{ClientLink: true}, Short: true, Do: deploy},
		{Name: "gateway out of memory", Setup: Setup{Load: world.Load{Rate: 350, Pad: 8 << 10}}, Do: outOfMemory},
		{
			Name: "gateway short of memory", Do: flood(4000, 6000),
			Setup: Setup{Load: world.Load{Rate: 200, Pad: 4 << 10}, Env: []string{"GOMEMLIMIT=24MiB"}},
		},
		{Name: "gateway out of files", Setup: Setup{ClientLink: true, DeadAfter: 4 * time.Second}, Quiet: true, Do: outOfFiles},
		{Name: "flood above the log", Do: flood(30_000, 40_000)},
		{
			Name: "flood above the log, readers slow", Leaves: []string{"evicted"},
			Setup: Setup{ClientLink: true, DeadAfter: 10 * time.Second, Load: world.Load{Rate: 200, Pad: 300}},
			Do: func(ctx context.Context, s *Stage) error {
				s.ToGateway.Set(world.Weather{Rate: 60_000})
				err := flood(30_000, 40_000)(ctx, s)
				return errors.Join(err, s.weather(ctx, s.ToGateway, 5*time.Second, 7*time.Second, world.Weather{Rate: 60_000}))
			},
		},
	}
}

// outOfFiles lets the gateway open no more files while all clients come back.
func outOfFiles(ctx context.Context, s *Stage) error {
	s.Fault()
	open, err := s.Gateway.OpenFiles()
	if err != nil {
		return err
	}
	before, err := s.Gateway.LimitFiles(open + 1)
	if err != nil {
		return err
	}
	for range 5 {
		s.ToGateway.Break()
		s.Wait(ctx, 500*time.Millisecond, 1500*time.Millisecond)
	}
	_, err = s.Gateway.LimitFiles(before)
	return err
}

// flood publishes more at once than logs hold.
func flood(low, high int) func(context.Context, *Stage) error {
	return func(ctx context.Context, s *Stage) error {
		s.Fault()
		for _, p := range s.Pubs {
			p.Flood(low + s.Rand(high-low))
		}
		return s.flooded(ctx)
	}
}

// flooded waits until all floods are over.
func (s *Stage) flooded(ctx context.Context) error {
	return world.Poll(ctx, pollInterval, func() bool {
		return !slices.ContainsFunc(s.Pubs, (*world.Publisher).Flooding)
	})
}

// drainPatience is the drain window and what a busy machine adds to it.
const drainPatience = 12 * time.Second

// deploy puts a new gateway beside the old one, sends new connections to it and ends the old one.
func deploy(ctx context.Context, s *Stage) error {
	s.Fault()
	old := s.Gateway
	fresh, err := s.newGateway(s.VHost.URL(), s.name+"b")
	if err != nil {
		return err
	}
	if err := fresh.Start(ctx); err != nil {
		return err
	}
	s.Gateway = fresh
	s.ToGateway.Retarget(fresh.Host())
	took, err := old.Stop()
	switch {
	case err != nil:
		return fmt.Errorf("the old gateway, after %v: %w", took, err)
	case took > drainPatience:
		return fmt.Errorf("the old gateway took %v to end", took)
	}
	return nil
}

// outOfMemory lets the gateway have no more memory than it has. It dies of that, or of the killer that an operating system sends.
func outOfMemory(ctx context.Context, s *Stage) error {
	s.Fault()
	if err := s.Gateway.LimitMemory(); err != nil {
		return err
	}
	for _, p := range s.Pubs {
		p.Flood(5000)
	}
	wait, cancel := context.WithTimeout(ctx, 8*time.Second)
	_ = world.Poll(wait, pollInterval, s.Gateway.Ended)
	cancel()
	s.Gateway.Kill()
	for _, p := range s.Pubs {
		p.SetLoad(world.Load{Rate: 200})
	}
	return s.restart(ctx)
}
