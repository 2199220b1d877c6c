package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// Verifier checks tokens. *identity.Verifier is one.
type Verifier interface {
	// Verify answers who the token names, or an *identity.Error.
	Verify(ctx context.Context, token identity.Token) (identity.Identity, error)
}

// Publisher is what a source has that can be published to: the one in memory.
type Publisher interface {
	// ExchangeType says of which type an exchange is, and whether there is one.
	ExchangeType(name string) (typ string, known bool)
	// Declare makes an exchange, or finds it there with that type. Errors are
	// *broker.Error of CodeInvalidRequest with a Field, CodeForbidden for reserved names, or
	// CodeOverCapacity for one too many.
	Declare(name, typ string) error
	// Publish routes a message and reports whether any queue got it. Errors are
	// *broker.Error, CodeExchangeNotFound among them.
	Publish(exchange, routingKey string, properties broker.Properties, body []byte) (routed bool, err error)
}

// Options are what New needs.
type Options struct {
	// Broker is the core. Required.
	Broker *broker.Broker
	// Streams serves SSE and WebSocket. Required; its Options.Problem is Problem.
	Streams *transport.Server
	// Admission holds the bounds per caller. Required.
	Admission *admission.Gate
	// Policy says which exchanges may be bound at all; the zero Policy allows none.
	Policy identity.Policy
	// Verifier checks tokens; nil is anonymous mode.
	Verifier Verifier
	// CapabilityAttach lets a subscription's id suffice to attach in token mode.
	CapabilityAttach bool
	// Publisher is the memory source; nil turns publishing off (404).
	Publisher Publisher

	// Listen is the address that the server listens on, host:port, for the
	// gateway's own origin and the check of Host on loopback. Required.
	Listen string
	// ListenName is the host that Listen was given by, another own name of the
	// gateway unless PublicURL says otherwise; "" or an address is none.
	ListenName string
	// PublicURL is how clients reach the gateway, scheme and host, when that is
	// not Listen; "" is Listen.
	PublicURL string
	// AllowOrigins are the foreign origins whose pages may use the gateway:
	// "https://a.example" or "https://*.example.org".
	AllowOrigins []string
	// TrustedProxies are the networks (CIDR) whose X-Forwarded-For is believed; none by default.
	TrustedProxies []string

	// Linger is that of created subscriptions that name none. Default: 60 s.
	Linger time.Duration
	// StreamLinger is that of subscriptions that a stream made. Default: 30 s.
	StreamLinger time.Duration
	// MaxLinger is the longest that may be asked for. Default: 600 s.
	MaxLinger time.Duration
	// BrokerTimeout bounds what a request waits for the broker. Default: 20 s.
	BrokerTimeout time.Duration

	// Inspector holds index.html and the files it needs; nil is not served.
	Inspector fs.FS
	// Client is warren.js, OpenAPI and AsyncAPI are the specifications; what is empty is not served.
	Client, OpenAPI, AsyncAPI []byte

	// Logger gets refusals, at most one line per code in ten seconds; nil discards them.
	Logger *slog.Logger
	// OnRefusal, if set, is told of every refusal.
	OnRefusal func(broker.Code)
}

// API is the gateway's HTTP handler. It is safe for concurrent use and starts no goroutine.
type API struct {
	opts     Options
	origins  *origins
	handler  http.Handler
	allow    map[string]string // route pattern → the header Allow
	refusals *refusalLog
	guests   guests
	proven   provenTokens
	lists    turns // of those who ask for a list of their subscriptions
	draining atomic.Bool
}

// New returns the handler. Errors name the option that is wrong.
func New(opts Options) (*API, error) {
	if opts.Broker == nil || opts.Streams == nil || opts.Admission == nil {
		return nil, errors.New("api: Broker, Streams and Admission are required")
	}
	def := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	def(&opts.Linger, broker.DefaultLinger)
	def(&opts.StreamLinger, broker.DefaultStreamLinger)
	def(&opts.MaxLinger, broker.MaxLinger)
	def(&opts.BrokerTimeout, 20*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	origins, err := newOrigins(opts.Listen, opts.ListenName, opts.PublicURL, opts.AllowOrigins)
	if err != nil {
		return nil, err
	}
	client, err := clientAddress(opts.TrustedProxies)
	if err != nil {
		return nil, err
	}
	a := &API{opts: opts, origins: origins, allow: map[string]string{}, refusals: &refusalLog{logger: opts.Logger}}
	routes, err := a.routes()
	if err != nil {
		return nil, err
	}
	a.handler = client(a.guard(routes))
	return a, nil
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Drain makes /readyz answer 503 and refuses new subscriptions and streams with
// shutting_down. It does not wait; transport.Server.Drain ends the streams.
func (a *API) Drain() { a.draining.Store(true) }

func (a *API) isDraining() bool { return a.draining.Load() || a.opts.Streams.Draining() }

// brokerContext bounds what one request waits for the broker.
func (a *API) brokerContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.opts.BrokerTimeout)
}
