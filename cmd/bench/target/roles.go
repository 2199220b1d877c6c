package target

import (
	"context"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/peer"
	"github.com/warren-gateway/warren/cmd/bench/publish"
	"github.com/warren-gateway/warren/cmd/bench/role"
)

// served is a role that listens.
type served struct {
	*role.Process
	addr string
}

func startServed(ctx context.Context, name string) (*served, error) {
	p, err := role.Start(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &served{Process: p}
	if err := p.Call(ctx, "listen", load.None{}, &s.addr); err != nil {
		p.Stop()
		return nil, err
	}
	return s, nil
}

// PIDs answers the role's process.
func (s *served) PIDs() []int { return []int{s.PID()} }

// R3labs is a server made with r3labs/sse.
type R3labs struct{ *served }

// StartR3labs starts it.
func StartR3labs(ctx context.Context) (*R3labs, error) {
	s, err := startServed(ctx, peer.R3labsRole)
	if err != nil {
		return nil, err
	}
	return &R3labs{s}, nil
}

// Name answers "r3labs/sse".
func (*R3labs) Name() string { return "r3labs/sse" }

// Stream reads the only stream; the kind must be SSE.
func (r *R3labs) Stream(kind string) load.Target {
	return load.Target{Kind: kind, Addr: r.addr, Path: "/events?stream=" + peer.Topic}
}

// Publish posts to the only stream.
func (r *R3labs) Publish() publish.Target {
	return publish.Target{Kind: publish.HTTP, URL: "http://" + r.addr + "/publish"}
}

// Loop is the bare loop, which publishes by itself.
type Loop struct{ *served }

// StartLoop starts it; it writes nothing until Run.
func StartLoop(ctx context.Context) (*Loop, error) {
	s, err := startServed(ctx, peer.LoopRole)
	if err != nil {
		return nil, err
	}
	return &Loop{s}, nil
}

// Name answers "bare loop".
func (*Loop) Name() string { return "bare loop" }

// Stream reads what the loop writes.
func (l *Loop) Stream(kind string) load.Target {
	return load.Target{Kind: kind, Addr: l.addr, Path: "/"}
}

// Publish answers nothing: the loop writes what Run was given.
func (*Loop) Publish() publish.Target { return publish.Target{} }

// Run has the loop write a frame again and again until Halt.
func (l *Loop) Run(ctx context.Context, job peer.LoopJob) error { return l.Call(ctx, "run", job, nil) }

// Writes implements Counter.
func (l *Loop) Writes(ctx context.Context) (n int64, err error) {
	err = l.Call(ctx, "writes", load.None{}, &n)
	return n, err
}

// Halt ends that.
func (l *Loop) Halt(ctx context.Context) error { return l.Call(ctx, "halt", load.None{}, nil) }
