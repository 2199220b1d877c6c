package matrix

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/cmd/faults/world"
)

// pairsOf names the faults that are done at once.
var pairsOf = [][2]string{
	{"connection closed by the broker", "clients' network cut"},
	{"channel closed by the broker", "broker's network slow"},
	{"channel closed by the broker", "readers stall within the write timeout"},
	{"queue deleted", "flood above the log"},
	{"exchange made again, with events", "connection closed by the broker"},
	{"exchange deleted for a while", "queue deleted"},
	{"broker killed", "readers stall within the write timeout"},
	{"broker killed", "clients' network cut"},
	{"memory alarm", "clients' network cut"},
	{"broker stands still", "gateway killed"},
	{"broker's network cut", "clients' network cut"},
	{"broker's network lossy", "clients' network lossy"},
	{"gateway stands still until the queue overflows", "clients' network cut"},
	{"gateway stands still until the queue overflows", "channel closed by the broker"},
	{"gateway out of files", "connection closed by the broker"},
	{"gateway killed", "clients' network lossy"},
	{"messages above the bound", "readers stall within the write timeout"},
	{"messages above the bound", "connection closed by the broker"},
}

// pairs makes one fault of two.
func pairs(faults []Fault) []Fault {
	find := func(name string) Fault {
		i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
		if i < 0 {
			panic(fmt.Sprintf("no fault is called %q", name))
		}
		return faults[i]
	}
	out := make([]Fault, len(pairsOf))
	for i, names := range pairsOf {
		out[i] = pair(find(names[0]), find(names[1]))
	}
	return out
}

// RandomPairs returns cells of two faults at once that follow from the seed, for a hunt beyond the fixed matrix. Both faults are of
// different places, and such as can be done at the same time: what stops the broker takes away the hand that would close a channel.
func RandomPairs(seed uint64, n int) []Cell {
	places := [][]Fault{brokerFaults(), nodeFaults(), brokerNetworkFaults(), clientNetworkFaults(), readerFaults(), gatewayFaults()}
	const broker, node = 0, 1
	rng := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // repeatable, not secret
	var cells []Cell
	seen := make(map[string]bool)
	for tries := 0; len(cells) < n && tries < 100*n; tries++ {
		i, j := rng.IntN(len(places)), rng.IntN(len(places))
		if i >= j || i == broker && j == node {
			continue
		}
		a, b := places[i][rng.IntN(len(places[i]))], places[j][rng.IntN(len(places[j]))]
		if a.Alone || b.Alone {
			continue
		}
		cell := Cell{Fault: pair(a, b), Clients: "random", Kinds: sets[rng.IntN(len(sets))].kinds}
		if !seen[cell.ID()] {
			seen[cell.ID()] = true
			cells = append(cells, cell)
		}
	}
	return cells
}

// pair does two faults at once. What they leave each for itself they need not leave together.
func pair(a, b Fault) Fault {
	return Fault{
		Name: a.Name + " + " + b.Name, Setup: a.Setup.merge(b.Setup), Quiet: a.Quiet && b.Quiet,
		Do: func(ctx context.Context, s *Stage) error {
			var both sync.WaitGroup
			var errs [2]error
			both.Go(func() { errs[0] = a.Do(ctx, s) })
			both.Go(func() { errs[1] = b.Do(ctx, s) })
			both.Wait()
			return errors.Join(errs[:]...)
		},
	}
}

// bindingFaults change bindings while messages flow.
func bindingFaults() []Fault {
	change := Fault{Name: "bindings change", Setup: Setup{Extra: true}, Quiet: true, Short: true, Do: changeBindings}
	slow := Fault{Name: "unbind that takes too long", Setup: Setup{BrokerLink: true, Sources: 2, Load: world.Load{Rate: 15}}, Do: unbindTooSlowly}
	return []Fault{
		change,
		pair(change, Fault{Name: "connection closed by the broker", Do: brokerFaults()[0].Do}),
		pair(change, Fault{Name: "channel closed by the broker", Do: brokerFaults()[1].Do}),
		{
			Name: "subscription paused while more goes by than the log holds", Setup: Setup{Sources: 2, Load: world.Load{Rate: 200, Pad: 2 << 10}},
			Leaves: []string{"evicted"}, Do: pauseTooLong,
		},
		{Name: "unbind refused half way", Setup: Setup{Sources: 2}, Do: unbindRefused},
		slow,
	}
}

// changeBindings binds every client to one exchange more, and unbinds it, again and again.
func changeBindings(ctx context.Context, s *Stage) error {
	for range 6 + s.Rand(6) {
		s.Fault()
		for _, c := range s.Clients {
			// It fails while the broker is away; then nothing must have changed.
			_ = c.SetBindings(ctx, s.Pubs[0].Source(), s.Extra.Source())
			_ = c.SetBindings(ctx, s.Pubs[0].Source())
		}
		if !s.Wait(ctx, 0, 300*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// pauseTooLong pauses subscriptions, and resumes them when their logs have gone on.
func pauseTooLong(ctx context.Context, s *Stage) error {
	s.Fault()
	for _, c := range s.Clients {
		if err := c.SetPaused(ctx, true); err != nil {
			return err
		}
	}
	for _, p := range s.Pubs {
		p.Flood(5000)
	}
	if err := s.flooded(ctx); err != nil {
		return err
	}
	s.Wait(ctx, time.Second, 3*time.Second)
	for _, c := range s.Clients {
		if err := c.SetPaused(ctx, false); err != nil {
			return err
		}
	}
	return nil
}

// unbindRefused asks to unbind two exchanges of which the broker lets go of the first only: all or nothing, so the first must be as if
// nobody had touched it.
func unbindRefused(ctx context.Context, s *Stage) error {
	if err := s.VHost.Forbid(ctx, s.Pubs[1].Source().Exchange()); err != nil {
		return err
	}
	// A channel of RabbitMQ's remembers what it has allowed until it has been idle for a second, and the gateway uses channels again.
	if !s.Wait(ctx, 3*time.Second, 4*time.Second) {
		return ctx.Err()
	}
	for _, p := range s.Pubs {
		p.Flood(6000)
	}
	for range 20 {
		s.Fault()
		for _, c := range s.Clients {
			if err := c.SetBindings(ctx); err == nil {
				return errors.New("an unbind that the broker refuses was confirmed")
			}
		}
		if !s.Wait(ctx, 0, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return s.VHost.Allow(ctx)
}

// unbindTooSlowly asks to unbind over a network so slow that the gateway gives up, and puts back what it has unbound.
func unbindTooSlowly(ctx context.Context, s *Stage) error {
	s.Fault()
	// Two bindings are two round trips, and have 15 seconds together.
	s.ToBroker.Set(world.Weather{Latency: 4 * time.Second})
	var asked sync.WaitGroup
	var confirmed atomic.Bool
	for _, c := range s.Clients {
		asked.Go(func() {
			if c.SetBindings(ctx) == nil {
				confirmed.Store(true)
			}
		})
	}
	asked.Wait()
	s.Wait(ctx, 26*time.Second, 30*time.Second)
	s.ToBroker.Set(world.Weather{})
	if confirmed.Load() {
		return errors.New("an unbind took less time than the network")
	}
	return nil
}
