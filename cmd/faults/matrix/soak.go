package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/faults/client"
	"github.com/warren-gateway/warren/cmd/faults/oracle"
	"github.com/warren-gateway/warren/cmd/faults/world"
)

// SoakOptions say how to run a soak.
type SoakOptions struct {
	Binary string
	// Node is killed and starved. It has the event exchange.
	Node     *rabbittest.Node
	Seed     uint64
	Duration time.Duration
	// Rate is in messages per second and source; there are four sources, and seven clients of each.
	Rate int
	Out  io.Writer
}

const (
	soakSources = 4
	// soakWarmUp is when memory and goroutines are measured first: the logs are full by then.
	soakWarmUp = 90 * time.Second
	// soakJudged is how long a soak must be for its memory to be judged.
	soakJudged = 5 * time.Minute
)

// soakKinds are the clients of each gateway, that listen to the sources by turns.
var soakKinds = []client.Kind{
	client.SSEQuery, client.WSQuery, client.SSEID, client.WSID, client.SwitchQuery, client.SwitchID, client.ListenWS,
	client.WSQuery, client.SSEQuery, client.WSID, client.SSEID, client.SwitchID, client.SwitchQuery, client.ListenSSE,
}

// Soak runs a mixed load with random faults for a while, prints a report and reports whether everything was as it should be.
//
// There are two gateways on one broker, with clients of all kinds: the steady one suffers everything but its own death, so that its memory can be
// compared over the whole time; the other is killed, replaced and starved as well.
func Soak(ctx context.Context, opts SoakOptions) (ok bool, err error) {
	k := &soak{opts: opts, begin: time.Now(), done: make(map[string]int)}
	defer k.clear()
	if err := k.build(ctx); err != nil {
		return false, err
	}
	err = k.run(ctx)
	if err == nil {
		err = k.finish(ctx)
	}
	return k.report(err), nil
}

// soak is one run.
type soak struct {
	opts            SoakOptions
	begin           time.Time
	steady, mortal  *Stage
	done            map[string]int // faults by name
	atFirst, atLast usage
	measured        bool
}

// usage is what the steady gateway takes.
type usage struct {
	rss        int64
	goroutines int
}

func (u usage) String() string { return fmt.Sprintf("%d MiB, %d goroutines", u.rss>>20, u.goroutines) }

func (k *soak) usage(ctx context.Context) usage {
	g := k.steady.Gateway
	return usage{rss: g.RSS(), goroutines: int(g.Metric(ctx, "go_goroutines"))}
}

func (k *soak) stage(name string, seed uint64) *Stage {
	return &Stage{
		Node: k.opts.Node, binary: k.opts.Binary, name: fmt.Sprintf("%s%08x", name, rand.Uint32()), //nolint:gosec // unique, not secret
		rng:   rand.New(rand.NewPCG(k.opts.Seed, seed)), //nolint:gosec // repeatable, not secret
		begin: k.begin, settle: settlePatience,
		setup: Setup{
			Events: true, BrokerLink: true, ClientLink: true, Sources: soakSources,
			Load: world.Load{Rate: k.opts.Rate, Pad: 40}, DeadAfter: 5 * time.Second, ReadBuffer: 128 << 10,
		},
	}
}

func (k *soak) build(ctx context.Context) error {
	k.steady, k.mortal = k.stage("a", 1), k.stage("b", 2)
	k.steady.truth = oracle.NewTruth()
	if err := k.steady.build(ctx, nil); err != nil {
		return err
	}
	m := k.mortal
	m.truth, m.VHost, m.Pubs = k.steady.truth, k.steady.VHost, k.steady.Pubs
	if err := m.startGateway(ctx); err != nil {
		return err
	}
	for _, s := range k.both() {
		url, err := s.clientURL()
		if err != nil {
			return err
		}
		for i, kind := range soakKinds {
			name := fmt.Sprintf("%c-%s-%d", s.name[0], kind, i)
			s.Clients = append(s.Clients, s.startClient(ctx, kind, name, url, s.Pubs[i%soakSources:i%soakSources+1]))
		}
	}
	return k.await(ctx)
}

func (k *soak) both() []*Stage { return []*Stage{k.steady, k.mortal} }

// await waits until every client gets what is published from now on.
func (k *soak) await(ctx context.Context) error {
	return errors.Join(k.steady.awaitClients(ctx), k.mortal.awaitClients(ctx))
}

// run does faults until the time is over.
func (k *soak) run(ctx context.Context) error {
	faults := soakFaults()
	minute := time.Now()
	for time.Since(k.begin) < k.opts.Duration && ctx.Err() == nil {
		if !k.measured && time.Since(k.begin) > min(soakWarmUp, k.opts.Duration/3) {
			k.atFirst, k.measured = k.usage(ctx), true
		}
		f := faults[k.steady.Rand(len(faults))]
		s := k.steady
		if f.mortal || k.steady.Rand(2) == 0 && !f.broker {
			s = k.mortal
		}
		if err := f.do(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		k.done[f.name]++
		if err := k.await(ctx); err != nil {
			return fmt.Errorf("after %s: %w", f.name, err)
		}
		if !s.Wait(ctx, time.Second, 6*time.Second) {
			break
		}
		if time.Since(minute) > time.Minute {
			minute = time.Now()
			k.progress(ctx)
		}
	}
	return ctx.Err()
}

func (k *soak) progress(ctx context.Context) {
	fmt.Fprintf(k.opts.Out, "%6v  %d faults, %d deliveries, steady gateway: %v\n",
		time.Since(k.begin).Round(time.Second), k.faults(), k.deliveries(), k.usage(ctx))
}

func (k *soak) faults() (n int) {
	for _, times := range k.done {
		n += times
	}
	return n
}

func (k *soak) records() (records []*oracle.Record) {
	for _, s := range k.both() {
		records = append(records, s.records()...)
	}
	return records
}

func (k *soak) deliveries() (n int) {
	for _, r := range k.records() {
		n += r.Messages()
	}
	return n
}

// finish has everything arrive.
func (k *soak) finish(ctx context.Context) error {
	k.atLast = k.usage(ctx)
	for _, p := range k.steady.Pubs {
		p.Stop()
	}
	err := errors.Join(k.steady.arrive(ctx), k.mortal.arrive(ctx))
	for _, s := range k.both() {
		_, stopped := s.Gateway.Stop()
		err = errors.Join(err, stopped)
	}
	return err
}

func (k *soak) clear() {
	for _, s := range []*Stage{k.mortal, k.steady} { // the publishers are the steady one's
		if s != nil {
			s.clear()
		}
	}
}

// report prints what came of it.
func (k *soak) report(err error) bool {
	verdict := k.steady.truth.Check(k.records()...)
	out := k.opts.Out
	published, taken := 0, 0
	for _, p := range k.steady.Pubs {
		published += p.Source().Last()
		taken += p.Source().Taken()
	}
	fmt.Fprintf(out, "\nsoak of %v with seed %d\n", time.Since(k.begin).Round(time.Second), k.opts.Seed)
	fmt.Fprintf(out, "  messages    %d published, %d of them confirmed, %d deliveries to %d clients of 2 gateways\n",
		published, taken, verdict.Messages, len(k.records()))
	fmt.Fprintf(out, "  gaps        %s\n", gapsText(verdict.Gaps))
	fmt.Fprintf(out, "  faults      %d\n", k.faults())
	for _, name := range slices.Sorted(maps.Keys(k.done)) {
		fmt.Fprintf(out, "    %4d %s\n", k.done[name], name)
	}
	fmt.Fprintf(out, "  at start    %v\n  at end      %v (the steady gateway)\n", k.atFirst, k.atLast)
	problems := verdict.Problems
	if err != nil {
		problems = append([]string{err.Error()}, problems...)
	}
	problems = append(problems, k.growth()...)
	if len(problems) > 0 {
		fmt.Fprintf(out, "  verdict     REJECTED\n")
		for _, p := range problems {
			fmt.Fprintf(out, "    %s\n", p)
		}
		for _, s := range k.both() {
			fmt.Fprintf(out, "    log of gateway %s: %s\n", s.name, lastLines(s.Gateway, 40))
		}
		return false
	}
	fmt.Fprintf(out, "  verdict     accepted\n")
	return true
}

// growth says where the steady gateway has grown over the time. What garbage collection and the number of streams leave to chance is allowed.
func (k *soak) growth() (problems []string) {
	if k.opts.Duration < soakJudged || !k.measured {
		return nil
	}
	if k.atLast.rss > k.atFirst.rss*5/4+(48<<20) {
		problems = append(problems, fmt.Sprintf("memory has grown from %v to %v", k.atFirst, k.atLast))
	}
	if k.atLast.goroutines > k.atFirst.goroutines+40 {
		problems = append(problems, fmt.Sprintf("goroutines have become more: from %v to %v", k.atFirst, k.atLast))
	}
	return problems
}
