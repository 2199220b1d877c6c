package publish

import (
	"context"
	"errors"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/role"
)

// Role is the name of the process that publishes.
const Role = "publisher"

// Handlers answers the operations of the role: start, stop.
func Handlers() map[string]role.Handler {
	var p *Publisher
	return map[string]role.Handler{
		"start": role.Op(func(ctx context.Context, job Job) (load.None, error) {
			if p != nil {
				return load.None{}, errors.New("publishes already")
			}
			var err error
			p, err = Start(ctx, job)
			return load.None{}, err
		}),
		"stop": role.Op(func(context.Context, load.None) (int64, error) {
			if p == nil {
				return 0, errors.New("publishes nothing")
			}
			stopped := p
			p = nil
			return stopped.Stop()
		}),
	}
}
