package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/peer"
	"github.com/warren-gateway/warren/cmd/bench/proc"
	"github.com/warren-gateway/warren/cmd/bench/publish"
	"github.com/warren-gateway/warren/cmd/bench/role"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

// work is what a server is put under.
type work struct {
	kind    string
	readers int
	size    int
	rate    int // messages per second; 0: flat out
	stalled int // the first so many readers do not read
	latency bool
	queues  int            // at the broker, of which each gets every message
	watch   []int          // further processes whose CPU is of interest: the broker's
	counter target.Counter // counts the server's writes; nil: the kernel does
}

// outcome is what came of it.
type outcome struct {
	perSecond float64       // deliveries
	messages  float64       // per second, of the slowest reader
	cores     float64       // CPU of the server, in cores
	cost      time.Duration // CPU of the server per delivery
	watched   float64       // CPU of the further processes, in cores
	writes    float64       // of the server, per delivery
	segments  float64       // TCP segments with data that readers received, per delivery; 0 where they are not counted
	latencies load.Latencies
	missed    int64 // messages that the slowest reader did not get
}

const (
	// callTimeout bounds one operation of a role: connecting 20,000 streams takes the longest.
	callTimeout = 90 * time.Second
	// inFlightPart is the part of the machine's memory that flat out may lie between publisher and readers, for all readers together:
	// the kernel holds it where they do not keep up, and begins to be sparing with sockets' memory at 6.2 % (tcp(7): tcp_mem),
	// where it counts its own costs: 350 MB were seen where this allows 960. A container's limit is not known here.
	inFlightPart = 25
	// leastInFlight is where that would be less, or the memory is unknown, in bytes.
	leastInFlight = 256 << 20
	// mostAhead bounds the messages that a publisher is ahead: less than the bounds of the gateway's log and queues, so that
	// nothing is lost.
	mostAhead  = 1000
	leastAhead = 16
	// mostQueued bounds the messages in all queues of the broker together: enough that no consumer waits, and gone soon at the end.
	mostQueued = 20_000
	// frameExtra is about what a frame adds to a body, in bytes.
	frameExtra = 200
	// settleTimeout bounds the wait for the last messages at the end.
	settleTimeout = 3 * time.Second
)

// errNothingCame says that a reader, and with it the publisher who waits for it, got no further in the measured time.
var errNothingCame = errors.New("nothing came")

// times answers how long a measurement warms up and how long it takes.
func (e *Env) times() (warm, measured time.Duration) {
	if e.Quick {
		return 300 * time.Millisecond, time.Second
	}
	return time.Second, 3 * time.Second
}

// ahead answers how far a publisher may be ahead flat out.
func ahead(w work) int {
	inFlight := int(min(max(leastInFlight, proc.Installed()/inFlightPart), math.MaxInt))
	most := min(mostAhead, inFlight/(w.readers*(w.size+frameExtra)), mostQueued/max(1, w.queues))
	return max(leastAhead, most)
}

// source is what counts messages: readers or a bare consumer, as a role.
type source struct {
	*role.Process
	progress string
	segments bool // whether it also counts TCP segments
}

// counts asks for the counts so far.
func (s *source) counts(ctx context.Context) (load.Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var c load.Counts
	return c, s.Call(ctx, "count", load.None{}, &c)
}

// received asks for the TCP segments so far; 0 where they are not counted.
func (s *source) received(ctx context.Context) (segments int64, err error) {
	if !s.segments {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = s.Call(ctx, "segments", load.None{}, &segments)
	return segments, err
}

// apart reports whether readers and server have cores of their own. Paced, each write may have to wake the readers' process, and
// whether that sleeps on the server's own core, where waking it is cheap, or on another, where it costs more than all the rest of
// the write, is the scheduler's whim. Over a network the server wakes nobody.
func (e *Env) apart(w work) bool { return w.rate > 0 && !w.latency && e.Cores > 1 }

// forReaders returns the context to start readers in, forServer the one for the server.
func (e *Env) forReaders(ctx context.Context, w work) context.Context {
	if !e.apart(w) {
		return ctx
	}
	return proc.OnCores(ctx, e.Cores-1, e.Cores-1)
}

func (e *Env) forServer(ctx context.Context, w work) context.Context {
	if !e.apart(w) {
		return ctx
	}
	return proc.OnCores(ctx, 0, e.Cores-2)
}

// connect starts a process with readers of the server.
func (e *Env) connect(ctx context.Context, s target.Server, w work) (*source, error) {
	p, err := role.Start(e.forReaders(ctx, w), load.Role)
	if err != nil {
		return nil, err
	}
	// Counting segments takes a system call for each stream, in which readers do not read: flat out it would hold up the publisher, and
	// latencies would have it in them.
	src := &source{Process: p, progress: e.progressFile(), segments: w.rate > 0 && !w.latency}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = p.Call(ctx, "connect", load.ConnectArgs{Target: s.Stream(w.kind), Count: w.readers, Progress: src.progress}, nil)
	if err == nil && w.stalled > 0 {
		err = p.Call(ctx, "stall", w.stalled, nil)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return src, nil
}

// drive puts a server under load and measures.
func (e *Env) drive(ctx context.Context, s target.Server, w work) (outcome, error) {
	src, err := e.connect(ctx, s, w)
	if err != nil {
		return outcome{}, fmt.Errorf("%s: %w", s.Name(), err)
	}
	defer src.Stop()
	defer e.profile(ctx, s, w)()
	var out outcome
	if w.queues == 0 && !w.latency { // a tally of fan-out; others need not be disturbed for it
		w.counter, _ = s.(target.Counter)
	}
	if loop, ok := s.(*target.Loop); ok {
		out, err = e.driveLoop(ctx, loop, src, w)
	} else {
		out, err = e.publishAndMeasure(ctx, s.Publish(), s.PIDs(), src, w)
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", s.Name(), err)
	}
	return out, nil
}

// profile takes a CPU profile of the gateway meanwhile, if that is wanted, and answers a function that waits for its end.
func (e *Env) profile(ctx context.Context, s target.Server, w work) (end func()) {
	g, ok := s.(*target.Gateway)
	if !ok || e.Profiles == "" {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		warm, measured := e.times()
		if wait(ctx, warm) != nil {
			return
		}
		file := filepath.Join(e.Profiles, e.name(fmt.Sprintf("%s-%d-readers-%d-bytes-%d-per-second", w.kind, w.readers, w.size, w.rate))+".pprof")
		if err := g.Profile(ctx, measured, file); err != nil {
			e.say("no profile: %v", err)
		}
	}()
	return func() { <-done }
}

func (e *Env) driveLoop(ctx context.Context, loop *target.Loop, src *source, w work) (outcome, error) {
	frame, err := e.frame(ctx, w.kind, w.size)
	if err != nil {
		return outcome{}, err
	}
	if err := loop.Run(ctx, peer.LoopJob{Frame: frame, Rate: w.rate, Ahead: ahead(w), Progress: src.progress}); err != nil {
		return outcome{}, err
	}
	out, err := e.measure(ctx, loop.PIDs(), src, w)
	if err != nil {
		return out, err
	}
	return out, loop.Halt(ctx)
}

// publishAndMeasure has a process publish meanwhile.
func (e *Env) publishAndMeasure(ctx context.Context, to publish.Target, pids []int, src *source, w work) (outcome, error) {
	publisher, err := role.Start(ctx, publish.Role)
	if err != nil {
		return outcome{}, err
	}
	defer publisher.Stop()
	job := publish.Job{Target: to, Size: w.size, Rate: w.rate, Ahead: ahead(w), Progress: src.progress}
	if err := publisher.Call(ctx, "start", job, nil); err != nil {
		return outcome{}, err
	}
	out, err := e.measure(ctx, pids, src, w)
	if err != nil {
		return out, err
	}
	var sent int64
	if err := publisher.Call(ctx, "stop", load.None{}, &sent); err != nil {
		return out, err
	}
	out.missed, err = src.settle(ctx, sent)
	return out, err
}

// measure reads the counters at the beginning and at the end of the measured time.
func (e *Env) measure(ctx context.Context, pids []int, src *source, w work) (outcome, error) {
	var out outcome
	warm, measured := e.times()
	if err := wait(ctx, warm); err != nil {
		return out, err
	}
	before, err := w.writes(ctx, pids)
	if err != nil {
		return out, err
	}
	if w.latency {
		if err := src.Call(ctx, "time", load.None{}, nil); err != nil {
			return out, err
		}
	}
	first, err := look(ctx, pids, src, w)
	if err != nil {
		return out, err
	}
	if err := wait(ctx, measured); err != nil {
		return out, err
	}
	last, err := look(ctx, pids, src, w)
	if err != nil {
		return out, err
	}
	after, err := w.writes(ctx, pids)
	if err != nil {
		return out, err
	}
	if w.latency {
		if err := src.Call(ctx, "latencies", load.None{}, &out.latencies); err != nil {
			return out, err
		}
	}
	seconds := float64(last.counts.At-first.counts.At) / 1e9
	out.perSecond = float64(last.counts.Messages-first.counts.Messages) / seconds
	out.messages = float64(last.counts.Least-first.counts.Least) / seconds
	out.cores = float64(last.cpu-first.cpu) / float64(last.at.Sub(first.at))
	out.watched = float64(last.watched-first.watched) / float64(last.at.Sub(first.at))
	if out.perSecond <= 0 {
		return out, fmt.Errorf("%w: %+v", errNothingCame, last.counts)
	}
	if last.counts.Lost > 0 {
		return out, fmt.Errorf("the server ended %d streams", last.counts.Lost)
	}
	messages := float64(last.counts.Messages - first.counts.Messages)
	out.writes = float64(after.writes-before.writes) / after.at.Sub(before.at).Seconds() / out.perSecond
	out.segments = float64(last.segments-first.segments) / messages
	out.cost = time.Duration(out.cores / out.perSecond * float64(time.Second))
	return out, nil
}

// snapshot is all counters at about one moment.
type snapshot struct {
	at           time.Time // of the CPU times
	counts       load.Counts
	cpu, watched time.Duration
	segments     int64
}

// tally is how many writes a server has made at a time.
type tally struct {
	at     time.Time
	writes int64
}

// writes counts. The server may have to do something for the answer, so it is asked before and after the time in which its CPU is
// counted.
func (w work) writes(ctx context.Context, pids []int) (t tally, err error) {
	if w.counter != nil {
		t.writes, err = w.counter.Writes(ctx)
	} else {
		t.writes, err = proc.Writes(pids)
	}
	t.at = time.Now()
	return t, err
}

func look(ctx context.Context, pids []int, src *source, w work) (snapshot, error) {
	var s snapshot
	var err error
	if s.counts, err = src.counts(ctx); err != nil {
		return s, err
	}
	s.at = time.Now()
	if s.cpu, err = proc.CPU(pids); err != nil {
		return s, err
	}
	if s.watched, err = proc.CPU(w.watch); err != nil {
		return s, err
	}
	s.segments, err = src.received(ctx)
	return s, err
}

// settle waits until the slowest reader has all messages that were sent, and answers how many it lacks in the end.
func (s *source) settle(ctx context.Context, sent int64) (missed int64, err error) {
	const every = 20 * time.Millisecond
	for deadline := time.Now().Add(settleTimeout); ; {
		c, err := s.counts(ctx)
		if err != nil {
			return 0, err
		}
		if c.Least >= sent || time.Now().After(deadline) {
			return max(0, sent-c.Least), nil
		}
		if err := wait(ctx, every); err != nil {
			return 0, err
		}
	}
}

// wait waits for the duration, unless the context ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
