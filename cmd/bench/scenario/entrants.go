package scenario

import (
	"context"
	"errors"
	"slices"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/proc"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

// The names of servers in tables.
const (
	gatewayName      = "warren"
	restName         = "warren, REST"
	nchanName        = "Nchan"
	nchanNodelayName = "Nchan, no delay"
	centrifugoName   = "Centrifugo"
	mercureName      = "Mercure"
	r3labsName       = "r3labs/sse"
	loopName         = "bare loop"
	bareName         = "bare consumer"
)

// entrant is a server that scenarios of fan-out measure.
type entrant struct {
	name  string
	kinds []string
	start func(context.Context) (target.Server, error)
}

// gateway is the gateway with memory://, to which messages are published by REST.
func (e *Env) gateway() entrant {
	return entrant{restName, []string{load.SSE, load.WS}, func(ctx context.Context) (target.Server, error) {
		return target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary})
	}}
}

// gatewayOn is the gateway with a broker behind it: there a message costs it little, and what is left are the deliveries.
func (e *Env) gatewayOn(rabbit *target.Rabbit) entrant {
	return entrant{gatewayName, []string{load.SSE, load.WS}, func(ctx context.Context) (target.Server, error) {
		exchange, err := e.exchange(ctx, rabbit)
		if err != nil {
			return nil, err
		}
		return target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary, Broker: rabbit.URL(), Exchange: exchange})
	}}
}

func (e *Env) nchan() entrant {
	return entrant{nchanName, []string{load.SSE, load.WS}, func(ctx context.Context) (target.Server, error) {
		return target.StartNchan(ctx, proc.Cores(ctx, e.Cores), e.Files)
	}}
}

// nchanNodelay is Nchan with TCP_NODELAY on the streams, as all the others have it.
func (e *Env) nchanNodelay() entrant {
	return entrant{nchanNodelayName, []string{load.SSE, load.WS}, func(ctx context.Context) (target.Server, error) {
		n, err := target.StartNchan(ctx, proc.Cores(ctx, e.Cores), e.Files)
		if err != nil {
			return nil, err
		}
		n.NoDelay = true
		return n, nil
	}}
}

func (e *Env) centrifugo() entrant {
	return entrant{centrifugoName, []string{load.SSE, load.WS}, func(ctx context.Context) (target.Server, error) {
		return started(target.StartCentrifugo(ctx))
	}}
}

func (e *Env) mercure() entrant {
	return entrant{mercureName, []string{load.SSE}, func(ctx context.Context) (target.Server, error) {
		return started(target.StartMercure(ctx))
	}}
}

// started keeps an error from looking like a server.
func started(h *target.Hub, err error) (target.Server, error) {
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (e *Env) r3labs() entrant {
	return entrant{r3labsName, []string{load.SSE}, func(ctx context.Context) (target.Server, error) {
		return target.StartR3labs(ctx)
	}}
}

func (e *Env) loop() entrant {
	return entrant{loopName, []string{load.SSE, load.WS}, func(ctx context.Context) (target.Server, error) {
		return target.StartLoop(ctx)
	}}
}

// on starts the server for one measurement. What is not installed is noted, and the measurement left out.
func (e *Env) on(ctx context.Context, who entrant, f func(target.Server) error) error {
	s, err := who.start(ctx)
	if e.missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Stop()
	err = f(s)
	if errors.Is(err, errNothingCame) && who.name != gatewayName {
		// A peer that gets stuck is a result; it must not cost the others theirs.
		e.say("%v", err)
		e.Report.Note(err.Error())
		return nil
	}
	return err
}

// missing reports whether the error says that a peer is not installed, and notes it then: the others are measured all the same.
func (e *Env) missing(err error) bool {
	var missing *target.MissingError
	if !errors.As(err, &missing) {
		return false
	}
	e.Report.Note(missing.Error())
	return true
}

// field is all that scenarios of fan-out compare: the gateway as it is used and with memory://, its peers, of which Nchan may be there
// in several ways, and the bare loop.
func (e *Env) field(ctx context.Context, nchans ...entrant) ([]entrant, error) {
	rabbit, err := e.broker(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]entrant{e.gatewayOn(rabbit), e.gateway()}, nchans, []entrant{e.centrifugo(), e.mercure(), e.r3labs(), e.loop()}), nil
}

// fanOut drives each of the entrants by each of its protocols, each time on a fresh server.
func (e *Env) fanOut(ctx context.Context, who []entrant, w work, f func(name, kind string, out outcome)) error {
	for _, entrant := range who {
		for _, kind := range entrant.kinds {
			w.kind = kind
			err := e.on(e.forServer(ctx, w), entrant, func(s target.Server) error {
				out, err := e.drive(ctx, s, w)
				if err != nil {
					return err
				}
				e.say("%s %s, %s, %s: %.0f deliveries/s, %.2f cores, %v each",
					entrant.name, kindName(kind), count(w.readers, "reader"), sizeName(w.size), out.perSecond, out.cores, out.cost)
				f(entrant.name, kind, out)
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
