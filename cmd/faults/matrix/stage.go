package matrix

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/faults/client"
	"github.com/warren-gateway/warren/cmd/faults/oracle"
	"github.com/warren-gateway/warren/cmd/faults/world"
)

const (
	// settlePatience bounds how long after the end of a fault its consequences may last.
	settlePatience = 90 * time.Second
	// arrivePatience bounds how long the last message may take, when the fault is over and the publishers have stopped: less than the
	// heartbeat's 15 seconds, so that a reader which only the next ping wakes is too late.
	arrivePatience = 10 * time.Second
	// clearPatience bounds what is done to clear up.
	clearPatience = 45 * time.Second
	// announcePatience bounds how long a gap may come after the messages: losses are summed up for at most ten seconds.
	announcePatience = 15 * time.Second
	pollInterval     = 20 * time.Millisecond
)

// Stage is where one run of a cell takes place. Faults use its methods from several goroutines.
type Stage struct {
	Node      *rabbittest.Node
	VHost     *world.VHost
	Gateway   *world.Gateway
	ToBroker  *world.Link // nil unless the cell asks for it
	ToGateway *world.Link // nil unless the cell asks for it
	Clients   []*client.Client
	Pubs      []*world.Publisher
	// Extra publishes to an exchange that clients are not bound to at first. What comes of it is welcome, what does not is no loss.
	Extra *world.Publisher

	binary string
	web    string
	name   string // of the gateway at the broker
	setup  Setup
	settle time.Duration // the patience after a fault
	truth  *oracle.Truth
	begin  time.Time

	mu     sync.Mutex // guards the rest
	rng    *rand.Rand
	faults int
	notes  []string
	undo   []func()
}

// Setup says what a fault needs of its stage.
type Setup struct {
	// Own asks for a node that may be stopped, killed and starved.
	Own bool
	// Events asks for a virtual host in which the broker tells of exchanges.
	Events bool
	// TLS has the gateway serve with a certificate, and so HTTP/2.
	TLS bool
	// BrokerLink and ClientLink put a proxy between gateway and broker, and between clients and gateway.
	BrokerLink, ClientLink bool
	// Load is the publishers' rate; the default is 200 messages per second without padding.
	Load world.Load
	// Sources is how many sources every client listens to; default 1.
	Sources int
	// Extra asks for one source more, which clients are not bound to at first.
	Extra bool
	// DeadAfter and ReadBuffer are options of the clients.
	DeadAfter  time.Duration
	ReadBuffer int
	// Env is the gateway's environment, Args its arguments beside those of every gateway.
	Env, Args []string
}

// merge returns what two faults need together.
func (s Setup) merge(o Setup) Setup {
	s.Own, s.Events, s.Extra = s.Own || o.Own, s.Events || o.Events, s.Extra || o.Extra
	s.TLS = s.TLS || o.TLS
	s.BrokerLink, s.ClientLink = s.BrokerLink || o.BrokerLink, s.ClientLink || o.ClientLink
	s.Load = world.Load{Rate: max(s.Load.Rate, o.Load.Rate), Pad: max(s.Load.Pad, o.Load.Pad)}
	s.Sources = max(s.Sources, o.Sources)
	s.ReadBuffer = max(s.ReadBuffer, o.ReadBuffer)
	if s.DeadAfter == 0 || o.DeadAfter > 0 && o.DeadAfter < s.DeadAfter {
		s.DeadAfter = o.DeadAfter
	}
	s.Env, s.Args = append(slices.Clone(s.Env), o.Env...), append(slices.Clone(s.Args), o.Args...)
	return s
}

// Rand returns a number from 0 to n-1.
func (s *Stage) Rand(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// Between returns a random duration.
func (s *Stage) Between(low, high time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return low + time.Duration(s.rng.Int64N(int64(high-low)+1))
}

// Wait waits for a random duration, and reports false when the run is over.
func (s *Stage) Wait(ctx context.Context, low, high time.Duration) bool {
	return world.Wait(ctx, s.Between(low, high))
}

// Fault counts a fault.
func (s *Stage) Fault() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults++
}

// Note says something about the run, for the report.
func (s *Stage) Note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// clock is the time since the run began.
func (s *Stage) clock() time.Duration { return time.Since(s.begin) }

// stack calls f at the end of the run.
func (s *Stage) stack(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = append(s.undo, f)
}

// build makes all there is, and waits until every client listens.
func (s *Stage) build(ctx context.Context, kinds []client.Kind) error {
	s.begin = time.Now()
	vhost := s.name
	if s.setup.Events {
		vhost = "/"
	}
	var err error
	if s.VHost, err = world.NewVHost(ctx, s.Node, vhost); err != nil {
		return err
	}
	s.stack(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearPatience)
		defer cancel()
		if err := s.VHost.Remove(ctx); err != nil {
			s.Note("%v", err)
		}
	})
	for i := range max(s.setup.Sources, 1) {
		pub, err := s.publisher(ctx, string(rune('a'+i)))
		if err != nil {
			return err
		}
		s.Pubs = append(s.Pubs, pub)
	}
	if s.setup.Extra {
		if s.Extra, err = s.publisher(ctx, "x"); err != nil {
			return err
		}
	}
	if err := s.startGateway(ctx); err != nil || len(kinds) == 0 {
		return err
	}
	url, err := s.clientURL()
	if err != nil {
		return err
	}
	for i, kind := range kinds {
		s.Clients = append(s.Clients, s.startClient(ctx, kind, fmt.Sprintf("%s-%d", kind, i), url, s.Pubs))
	}
	return s.awaitClients(ctx)
}

// publisher starts a publisher with an exchange of its own.
func (s *Stage) publisher(ctx context.Context, name string) (*world.Publisher, error) {
	pub, err := world.StartPublisher(ctx, s.VHost.URL(), s.truth.Source(name, s.name+"-"+name), "k."+name, s.clock, s.setup.Load)
	if err != nil {
		return nil, err
	}
	s.stack(pub.Stop)
	return pub, nil
}

// startGateway starts the gateway, behind a proxy if there is one.
func (s *Stage) startGateway(ctx context.Context) error {
	broker := s.VHost.URL()
	if s.setup.BrokerLink {
		link, err := world.NewLink(s.Node.Addr(), uint64(s.Rand(1<<30)))
		if err != nil {
			return err
		}
		s.stack(link.Close)
		s.ToBroker, broker = link, world.Through(broker, link)
	}
	gateway, err := s.newGateway(broker, s.name)
	if err != nil {
		return err
	}
	s.Gateway = gateway
	return gateway.Start(ctx)
}

func (s *Stage) newGateway(broker, node string) (*world.Gateway, error) {
	args := append([]string{"--broker", broker, "--node", node}, s.setup.Args...)
	if s.setup.TLS {
		dir, err := os.MkdirTemp("", "faults")
		if err != nil {
			return nil, err
		}
		s.stack(func() { _ = os.RemoveAll(dir) })
		cert, key, err := world.Certificate(dir)
		if err != nil {
			return nil, err
		}
		args = append(args, "--tls-cert", cert, "--tls-key", key)
	}
	gateway, err := world.NewGateway(s.binary, args...)
	if err != nil {
		return nil, err
	}
	gateway.SetEnv(s.setup.Env...)
	s.stack(gateway.Kill)
	return gateway, nil
}

// clientURL returns where clients find the gateway.
func (s *Stage) clientURL() (string, error) {
	host := s.Gateway.Host()
	if s.setup.ClientLink {
		link, err := world.NewLink(host, uint64(s.Rand(1<<30)))
		if err != nil {
			return "", err
		}
		s.stack(link.Close)
		s.ToGateway, host = link, link.Addr()
	}
	if s.setup.TLS {
		return "https://" + host, nil
	}
	return "http://" + host, nil
}

func (s *Stage) startClient(ctx context.Context, kind client.Kind, name, url string, pubs []*world.Publisher) *client.Client {
	sources := make([]*oracle.Source, len(pubs))
	for i, p := range pubs {
		sources[i] = p.Source()
	}
	var extra []*oracle.Source
	if s.Extra != nil {
		extra = append(extra, s.Extra.Source())
	}
	c := client.Start(ctx, client.Options{
		Kind: kind, Name: name, URL: url, Sources: sources, Extra: extra, Clock: s.clock, Binary: s.binary, Web: s.web,
		DeadAfter: s.setup.DeadAfter, ReadBuffer: s.setup.ReadBuffer,
	})
	s.stack(c.Stop)
	return c
}

// awaitClients waits until every client gets what is published from now on.
func (s *Stage) awaitClients(ctx context.Context) error {
	marks := make(map[string]int)
	for _, p := range s.Pubs {
		marks[p.Source().Name()] = p.Source().Last() + 1
	}
	return s.await(ctx, s.settle, "messages that were published after the fault", marks)
}

// await waits until every client has got these numbers, or later ones.
func (s *Stage) await(ctx context.Context, patience time.Duration, what string, marks map[string]int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	late := func() (names []string) {
		for _, c := range s.Clients {
			for _, source := range c.Sources() {
				if got, mark := c.Record().Newest(source.Name()), marks[source.Name()]; got < mark {
					names = append(names, fmt.Sprintf("%s has %d of %s, not %d", c.Record().Name(), got, source.Name(), mark))
				}
			}
		}
		return names
	}
	if err := world.Poll(ctx, pollInterval, func() bool { return len(late()) == 0 }); err != nil {
		return fmt.Errorf("%s do not come within %v: %s", what, patience, strings.Join(late(), "; "))
	}
	return nil
}

// finish has everything arrive, and ends the gateway in order.
func (s *Stage) finish(ctx context.Context) error {
	if err := s.awaitClients(ctx); err != nil {
		return err
	}
	if s.Extra != nil {
		s.Extra.Stop()
		s.Extra.Source().Excuse(1, s.Extra.Source().Last())
	}
	for _, p := range s.Pubs {
		p.Stop()
	}
	if err := s.arrive(ctx); err != nil {
		return err
	}
	_, err := s.Gateway.Stop()
	return err
}

// arrive waits for the last messages, once the publishers have stopped, and ends the clients.
func (s *Stage) arrive(ctx context.Context) error {
	marks := make(map[string]int)
	for _, p := range s.Pubs {
		marks[p.Source().Name()] = p.Source().LastTaken()
	}
	if err := s.await(ctx, arrivePatience, "the last messages", marks); err != nil {
		return err
	}
	// What was dropped is announced when it has been quiet for a while: a gap may be the last thing to come.
	wait, cancel := context.WithTimeout(ctx, announcePatience)
	_ = world.Poll(wait, 10*pollInterval, func() bool { v := s.truth.Check(s.records()...); return v.Accepted() })
	cancel()
	var stopped sync.WaitGroup
	for _, c := range s.Clients {
		stopped.Go(c.Stop)
	}
	stopped.Wait()
	return nil
}

// clear ends all that is left.
func (s *Stage) clear() {
	s.mu.Lock()
	undo := s.undo
	s.undo = nil
	s.mu.Unlock()
	for _, f := range slices.Backward(undo) {
		f()
	}
}

// records returns the records of all clients.
func (s *Stage) records() []*oracle.Record {
	records := make([]*oracle.Record, len(s.Clients))
	for i, c := range s.Clients {
		records[i] = c.Record()
	}
	return records
}

// restart starts the gateway again at the same address, once it has ended.
func (s *Stage) restart(ctx context.Context) error {
	if !s.Gateway.Ended() {
		return errors.New("the gateway still runs")
	}
	return s.Gateway.Start(ctx)
}
