package load

import (
	"context"
	"errors"

	"github.com/warren-gateway/warren/cmd/bench/role"
)

// Role is the name of the process that reads.
const Role = "readers"

// ConnectArgs are the arguments of "connect".
type ConnectArgs struct {
	Target   Target `json:"target"`
	Count    int    `json:"count"`
	Progress string `json:"progress"` // file to tell the progress in; empty: none
}

// None is the absence of arguments, or of an answer.
type None struct{}

var errNothing = errors.New("nothing is connected")

// reader is the state of the role.
type reader struct{ readers *Readers }

// Handlers answers the operations of the role: connect, count, segments, time, latencies, stall, churn, capture.
func Handlers() map[string]role.Handler {
	r := &reader{}
	return map[string]role.Handler{
		"connect": role.Op(r.connect),
		"count": role.Op(func(context.Context, None) (Counts, error) {
			if r.readers == nil {
				return Counts{}, errNothing
			}
			return r.readers.Count(), nil
		}),
		"segments": role.Op(func(context.Context, None) (int64, error) {
			if r.readers == nil {
				return 0, errNothing
			}
			return r.readers.Segments()
		}),
		"time": role.Op(func(context.Context, None) (None, error) {
			if r.readers == nil {
				return None{}, errNothing
			}
			r.readers.Time()
			return None{}, nil
		}),
		"latencies": role.Op(func(context.Context, None) (Latencies, error) {
			if r.readers == nil {
				return Latencies{}, errNothing
			}
			return r.readers.Latencies(), nil
		}),
		"stall": role.Op(func(_ context.Context, n int) (None, error) {
			if r.readers == nil {
				return None{}, errNothing
			}
			return None{}, r.readers.Stall(n)
		}),
		"churn":   role.Op(churn),
		"capture": role.Op(capture),
	}
}

func (r *reader) connect(ctx context.Context, args ConnectArgs) (None, error) {
	if r.readers == nil {
		var progress *Progress
		if args.Progress != "" {
			var err error
			if progress, err = OpenProgress(args.Progress); err != nil {
				return None{}, err
			}
		}
		readers, err := NewReaders(progress)
		if err != nil {
			return None{}, err
		}
		r.readers = readers
	}
	return None{}, r.readers.Connect(ctx, args.Target, args.Count)
}
