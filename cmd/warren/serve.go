package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/warren-gateway/warren"
	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
	"github.com/warren-gateway/warren/web"
)

// stopGrace is what a stop may take after the drain window: queues are deleted
// and connections closed in it, or left to the broker, which does it for us.
const stopGrace = 5 * time.Second

// deletingQueues is how much of it deleting them may take. A broker that stands
// still deletes none, and closing its connections takes time, too.
const deletingQueues = 1500 * time.Millisecond

// closingStreams is how much closing what a drain has left may take.
const closingStreams = 250 * time.Millisecond

// gateway is everything that `warren serve` runs.
type gateway struct {
	cfg      Config
	logger   *slog.Logger
	source   source
	core     *broker.Broker
	streams  *transport.Server
	verifier *identity.Verifier // nil in anonymous mode
	gate     *admission.Gate
	api      *api.API
	server   *http.Server
	listener net.Listener
	admin    *adminServer // nil when it is turned off
	refusals refusalCounts
	tracing  *tracing // nil when OpenTelemetry is not configured
}

// serve runs the gateway until ctx is done, and then stops it in order.
func serve(ctx context.Context, p process) error {
	cfg, err := serveConfig(p)
	if err != nil || cfg == nil {
		return err
	}
	logger, err := newLogger(p.stderr, cfg)
	if err != nil {
		return err
	}
	g, err := newGateway(ctx, *cfg, logger)
	if err != nil {
		return err
	}
	g.announce(p)
	return g.run(ctx)
}

// serveConfig reads the configuration; it is nil when it was only to be printed.
func serveConfig(p process) (*Config, error) {
	defaults := defaultConfig()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(p.stderr)
	configFlags(flags, &defaults)
	file := flags.String("config", lookupEnv(p.env, envPrefix+"CONFIG"), "YAML file with the same settings, _ for -")
	show := flags.Bool("print-config", false, "print the configuration as it would be used, and stop")
	flags.Usage = func() { printServeHelp(p.stdout, &defaults) }
	if err := flags.Parse(p.args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, err
		}
		return nil, usageError("%w (see warren serve --help)", err)
	}
	if flags.NArg() > 0 {
		return nil, usageError("serve takes flags only, not %q", maskStray(flags.Arg(0)))
	}
	cfg, err := loadConfig(flags, *file, p.env)
	if err != nil {
		return nil, usageError("%w", err)
	}
	if err := cfg.Validate(); err != nil {
		return nil, usageError("%w", err)
	}
	if *show {
		return nil, printConfig(p.stdout, &cfg)
	}
	return &cfg, nil
}

// newGateway builds everything and listens. What was started is stopped again
// when something fails.
func newGateway(ctx context.Context, cfg Config, logger *slog.Logger) (*gateway, error) {
	g := &gateway{cfg: cfg, logger: logger, refusals: newRefusalCounts()}
	if err := g.build(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		return nil, errors.Join(err, g.close(stopCtx))
	}
	return g, nil
}

func (g *gateway) build(ctx context.Context) (err error) {
	// The port first: everything else is in vain when somebody else has it.
	var lc net.ListenConfig
	if g.listener, err = lc.Listen(ctx, "tcp", g.cfg.Listen); err != nil {
		return fmt.Errorf("--listen %s (another HOST:PORT, or port 0 for a free one, may do): %w", g.cfg.Listen, err)
	}
	if g.source, err = newSource(ctx, &g.cfg, g.logger); err != nil {
		return err
	}
	core := broker.Options{
		Source: g.source.Source, Limits: g.cfg.coreLimits(), Logger: g.logger, LatencyHeader: g.cfg.LatencyHeader,
	}
	if g.tracing, err = newTracing(ctx, g.logger); err != nil {
		return err
	}
	if g.tracing != nil { // a nil in an interface would not be nil
		core.Tracer = g.tracing
	}
	g.core = broker.New(core)
	g.streams = transport.New(transport.Options{
		Heartbeat: g.cfg.Heartbeat, WriteTimeout: g.cfg.WriteTimeout, DrainWindow: g.cfg.Drain,
		CreateRate: g.cfg.CreateRate, Problem: api.Problem, Logger: g.logger,
	})
	g.gate = admission.New(g.cfg.gateLimits())
	if err := g.buildAPI(ctx); err != nil {
		return err
	}
	g.server = api.NewServer(g.api, g.logger)
	// What ends a stream over HTTP/2, or an answer, is a frame that waits behind what its connection does not take. Later
	// than the stream's own time, so that its reason counts.
	g.server.HTTP2.WriteByteTimeout = g.cfg.WriteTimeout*3/2 + time.Second
	if g.cfg.TLSCert != "" {
		if g.server.TLSConfig, err = reloadingTLS(g.cfg.TLSCert, g.cfg.TLSKey, g.logger); err != nil {
			return err
		}
	}
	if g.cfg.AdminListen != "" {
		g.admin, err = newAdminServer(ctx, g)
	}
	return err
}

func (g *gateway) buildAPI(ctx context.Context) error {
	policy, err := identity.NewPolicy(identity.PolicyOptions{Allow: g.cfg.AllowExchange, Deny: g.cfg.DenyExchange})
	if err != nil {
		return err
	}
	name, _, err := net.SplitHostPort(g.cfg.Listen) // the listener knows but the address
	if err != nil {
		return fmt.Errorf("--listen %s: %w", g.cfg.Listen, err)
	}
	opts := api.Options{
		Broker: g.core, Streams: g.streams, Admission: g.gate, Policy: policy,
		CapabilityAttach: g.cfg.CapabilityAttach, Listen: g.listener.Addr().String(), ListenName: name, PublicURL: g.cfg.PublicURL,
		AllowOrigins: g.cfg.AllowOrigin, TrustedProxies: g.cfg.TrustedProxy,
		Linger: g.cfg.Linger, StreamLinger: g.cfg.StreamLinger, MaxLinger: g.cfg.MaxLinger,
		Client: web.Client(), Inspector: web.Inspector(), OpenAPI: warren.OpenAPI, AsyncAPI: warren.AsyncAPI,
		Logger: g.logger, OnRefusal: g.refusals.add,
	}
	if g.source.memory != nil {
		opts.Publisher = g.source.memory
	}
	if g.cfg.usesTokens() {
		g.verifier, err = identity.NewVerifier(ctx, identity.VerifierOptions{
			JWKSURL: g.cfg.JWKSURL, KeyFile: g.cfg.JWTKey, HS256: g.cfg.JWTHS256,
			Audience: g.cfg.JWTAudience, Issuer: g.cfg.JWTIssuer, Logger: g.logger,
		})
		if err != nil {
			return fmt.Errorf("tokens: %w", err)
		}
		opts.Verifier = g.verifier
	}
	g.api, err = api.New(opts)
	return err
}

func (c *Config) coreLimits() broker.Limits {
	limits := broker.Limits{
		LogFrames: c.LogFrames, LogBytes: c.LogBytes, MemoryBudget: c.MemoryBudget, MaxMessageBytes: c.MaxMessageBytes,
		QueueBacklog: c.QueueMaxLength + c.Prefetch,
		MaxBindings:  c.MaxBindings, MaxAttachments: c.MaxAttachments, MaxSubscriptions: c.MaxSubscriptions,
	}
	if c.usesTokens() && !c.CapabilityAttach { // else nobody asks who may read what is gone
		limits.FormerBindings = 2 * c.MaxBindings
	}
	return limits
}

func (c *Config) gateLimits() admission.Limits {
	limits := admission.DefaultLimits()
	limits.RequestRate, limits.RequestBurst = c.RequestRatePerCaller, c.RequestBurstPerCaller
	limits.CreateRatePerCaller, limits.CreateBurstPerCaller = c.CreateRatePerCaller, c.CreateBurstPerCaller
	limits.CreateRate = c.CreateRate
	limits.SubscriptionsPerCaller = c.MaxSubscriptionsPerCaller
	limits.StreamsPerCaller, limits.Streams = c.MaxStreamsPerCaller, c.MaxStreams
	return limits
}

// run serves until ctx is done or a listener fails, then stops.
func (g *gateway) run(ctx context.Context) error {
	group, failed := errgroup.WithContext(ctx)
	group.Go(func() error { return g.serveHTTP() })
	if g.admin != nil {
		group.Go(g.admin.serve)
	}
	group.Go(func() error {
		<-failed.Done()
		// A new context: the one that is done is the reason to stop.
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Drain+stopGrace)
		defer cancel()
		return g.stop(stopCtx)
	})
	return group.Wait()
}

func (g *gateway) serveHTTP() error {
	trusted := make([]netip.Prefix, 0, len(g.cfg.TrustedProxy))
	for _, cidr := range g.cfg.TrustedProxy {
		prefix, err := api.ParseNetwork(cidr)
		if err != nil {
			return fmt.Errorf("--trusted-proxy %s: %w", cidr, err)
		}
		trusted = append(trusted, prefix)
	}
	// Some more than there may be streams: REST requests need a connection too.
	limits := api.ConnectionLimits{
		Total: g.cfg.MaxStreams + g.cfg.MaxStreams/4 + 64, PerAddress: 2*g.cfg.MaxStreamsPerCaller + 64,
		Exempt: trusted, Plain: g.server.TLSConfig == nil,
		OnRefusal: func() { g.refusals.add(broker.CodeOverCapacity) },
	}
	listener := api.LimitConnections(g.listener, limits)
	var err error
	if g.server.TLSConfig != nil {
		err = g.server.ServeTLS(listener, "", "")
	} else {
		err = g.server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stop ends the gateway in the order in which nobody is surprised: readiness
// fails first, streams are told and given time, then what feeds them goes.
func (g *gateway) stop(ctx context.Context) error {
	g.logger.Info("stopping", slog.Duration("drain", g.cfg.Drain))
	g.api.Drain()
	g.streams.Drain(ctx)
	return g.close(ctx)
}

// close ends whatever there is, in the order of the way of a message, backwards.
func (g *gateway) close(ctx context.Context) error {
	var errs []error
	if g.core != nil {
		g.core.Interrupt() // first of all: requests that wait for the broker need an answer, and somebody to write it
	}
	if g.server != nil {
		shutdown, cancel := context.WithTimeout(ctx, time.Second)
		if g.server.Shutdown(shutdown) != nil {
			_ = g.server.Close() // requests that are still under way have had their second
		}
		cancel()
	}
	if g.listener != nil {
		_ = g.listener.Close() // closed already when it served
	}
	streamsClosed := g.closeStreams()
	if g.core != nil {
		deleting, cancel := context.WithTimeout(ctx, deletingQueues)
		_ = g.core.Close(deleting) // What is not done by then ends with the connections.
		cancel()
	}
	errs = append(errs, g.source.close(ctx))
	select {
	case <-streamsClosed:
	case <-ctx.Done():
	}
	if g.core != nil {
		errs = append(errs, g.core.Close(ctx))
	}
	if g.verifier != nil {
		g.verifier.Close()
	}
	if g.tracing != nil {
		g.tracing.close(ctx)
	}
	if g.admin != nil {
		errs = append(errs, g.admin.close(ctx))
	}
	return errors.Join(errs...)
}

// closeStreams closes the streams, and waits a while for them: a request of a WebSocket may be waiting for the broker in a way
// that only the end of its connection ends. The channel is closed when all are gone.
func (g *gateway) closeStreams() <-chan struct{} {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if g.streams != nil {
			g.streams.Close()
		}
	}()
	select {
	case <-closed:
	case <-time.After(closingStreams):
	}
	return closed
}

func lookupEnv(env []string, name string) string {
	for _, entry := range env {
		if len(entry) > len(name) && entry[len(name)] == '=' && entry[:len(name)] == name {
			return entry[len(name)+1:]
		}
	}
	return ""
}
