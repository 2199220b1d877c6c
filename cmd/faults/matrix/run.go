package matrix

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/faults/oracle"
	"github.com/warren-gateway/warren/cmd/faults/world"
)

// cellTimeout bounds one run of a cell.
const cellTimeout = 4 * time.Minute

// warmUp is how long clients listen before a fault, at least: to the gateway's own subscriptions at the broker, too.
const warmUp = 700 * time.Millisecond

// Nodes are the brokers of a matrix: one that all cells share, and one for those that do harm to it. Both have the event exchange in
// their virtual host "/".
type Nodes struct {
	Shared, Own *rabbittest.Node
}

// Options say how to run a matrix.
type Options struct {
	Binary string
	// Web is the directory web of the source, for clients in JavaScript.
	Web   string
	Nodes Nodes
	Seed  uint64
	Runs  int
	// Parallel is how many cells run at once beside the one that has a node for itself.
	Parallel int
	// Settle bounds how long the consequences of a fault may last; default 90 s.
	Settle time.Duration
	// Done is called when a cell is finished, one at a time.
	Done func(Result)
}

// Result is what came of the runs of a cell.
type Result struct {
	Cell     Cell
	Runs     int
	Faults   int
	Messages int
	Gaps     map[string]int
	Problems []string
	Took     time.Duration
}

// Accepted reports whether every run was.
func (r *Result) Accepted() bool { return len(r.Problems) == 0 }

// Run runs cells, and returns the results in the order of the cells.
func Run(ctx context.Context, cells []Cell, opts Options) []Result {
	results := make([]Result, len(cells))
	var mu sync.Mutex // guards results and the order of Done
	do := func(i int) {
		r := runCell(ctx, cells[i], opts)
		mu.Lock()
		defer mu.Unlock()
		results[i] = r
		if opts.Done != nil {
			opts.Done(r)
		}
	}
	var shared, own []int
	for i, c := range cells {
		if c.Setup.Own {
			own = append(own, i)
		} else {
			shared = append(shared, i)
		}
	}
	var workers sync.WaitGroup
	workers.Go(func() {
		for _, i := range own {
			do(i)
		}
	})
	var next atomic.Int64
	for range max(opts.Parallel, 1) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(shared) {
					return
				}
				do(shared[i])
			}
		})
	}
	workers.Wait()
	return results
}

// runCell runs one cell as often as asked for.
func runCell(ctx context.Context, cell Cell, opts Options) Result {
	begin := time.Now()
	result := Result{Cell: cell, Gaps: make(map[string]int)}
	for i := range max(opts.Runs, 1) {
		if ctx.Err() != nil {
			result.Problems = append(result.Problems, "interrupted")
			break
		}
		seed := opts.Seed + uint64(i)
		outcome := runOnce(ctx, cell, opts, seed)
		result.Runs++
		result.Faults += outcome.faults
		result.Messages += outcome.verdict.Messages
		for reason, n := range outcome.verdict.Gaps {
			result.Gaps[reason] += n
		}
		for _, p := range outcome.verdict.Problems {
			result.Problems = append(result.Problems, fmt.Sprintf("seed %d: %s", seed, p))
		}
	}
	result.Took = time.Since(begin)
	return result
}

// outcome is what came of one run.
type outcome struct {
	verdict oracle.Verdict
	faults  int
}

func runOnce(ctx context.Context, cell Cell, opts Options, seed uint64) outcome {
	ctx, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(cell.ID())) // It never fails.
	s := &Stage{
		Node: opts.Nodes.Shared, binary: opts.Binary, web: opts.Web, settle: opts.Settle, setup: cell.Setup, truth: oracle.NewTruth(),
		rng:  rand.New(rand.NewPCG(seed, hash.Sum64())), //nolint:gosec // repeatable, not secret
		name: fmt.Sprintf("f%08x", rand.Uint32()),       //nolint:gosec // unique, not secret
	}
	if s.settle == 0 {
		s.settle = settlePatience
	}
	if cell.Setup.Own {
		s.Node = opts.Nodes.Own
	}
	if s.setup.Load.Rate == 0 {
		s.setup.Load.Rate = 200
	}
	var trouble []string
	err := s.build(ctx, cell.Kinds)
	if err == nil && s.Wait(ctx, warmUp, 2*warmUp) {
		err = cell.Do(ctx, s)
	}
	if err == nil {
		err = s.finish(ctx)
	}
	if err != nil {
		trouble = append(trouble, err.Error())
	}
	s.clear()
	verdict := s.truth.Check(s.records()...)
	verdict.Problems = append(trouble, verdict.Problems...)
	verdict.Problems = append(verdict.Problems, unexpected(cell, verdict.Gaps)...)
	if len(verdict.Problems) > 0 {
		verdict.Problems = append(verdict.Problems, s.notes...)
		if s.Gateway != nil {
			verdict.Problems = append(verdict.Problems, "the gateway's log: "+lastLines(s.Gateway, 25))
		}
	}
	return outcome{verdict: verdict, faults: s.faults}
}

// unexpected returns what the gaps say against the fault having been done, or against it being harmless.
func unexpected(cell Cell, gaps map[string]int) (problems []string) {
	if cell.Quiet && len(gaps) > 0 {
		problems = append(problems, fmt.Sprintf("gaps where nothing had to get lost: %v", gaps))
	}
	if len(cell.Leaves) > 0 && !slices.ContainsFunc(cell.Leaves, func(reason string) bool { return gaps[reason] > 0 }) {
		problems = append(problems, fmt.Sprintf("no gap of %s: the fault did not work", strings.Join(cell.Leaves, " or ")))
	}
	return problems
}

func lastLines(g *world.Gateway, n int) string {
	lines := strings.Split(strings.TrimSpace(g.Logs()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n    ")
}
