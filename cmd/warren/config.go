package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq"
)

// Config is everything `warren serve` can be told. Each field states the name of
// its flag, its default (in defaultConfig) and what it does; help, the file's
// keys (the flag with _ for -), the environment (WARREN_ and the key in capitals)
// and docs/configuration.md are made from here, so that no second table drifts.
type Config struct {
	Listen      string `koanf:"listen" group:"Where" help:"address to serve on; host:0 takes a free port"`
	AdminListen string `koanf:"admin_listen" group:"Where" help:"address of metrics, health, pprof and the page that can evict subscriptions, to be kept private; empty turns it off"`
	PublicURL   string `koanf:"public_url" group:"Where" help:"how clients reach the gateway, scheme and host (https://events.example.org), when that is not --listen; any other Host is refused"`
	TLSCert     string `koanf:"tls_cert" group:"Where" help:"PEM file with the certificate chain; read again when it changes"`
	TLSKey      string `koanf:"tls_key" group:"Where" help:"PEM file with the certificate's private key"`

	Broker     string   `koanf:"broker" group:"Broker" help:"memory:// (in process, nothing to install) or amqp(s)://user:password@host:port/vhost"`
	BrokerCA   string   `koanf:"broker_ca" group:"Broker" help:"PEM file with the authorities that sign the broker's certificate; empty: the system's"`
	BrokerCert string   `koanf:"broker_cert" group:"Broker" help:"PEM file with a client certificate for the broker"`
	BrokerKey  string   `koanf:"broker_key" group:"Broker" help:"PEM file with the client certificate's private key"`
	Node       string   `koanf:"node" group:"Broker" help:"name of this gateway in queue names; empty: host name and 6 random characters. Two gateways on one broker must not share it"`
	Exchange   []string `koanf:"exchange" group:"Broker" help:"NAME=TYPE of an exchange, for grants with patterns; repeat for more"`
	Demo       bool     `koanf:"demo" group:"Broker" help:"declare builds and deploys and publish lifelike events to them (memory:// only)"`

	Anonymous        bool     `koanf:"anonymous" group:"Who may listen" help:"serve without tokens on an address that is not loopback"`
	AllowExchange    []string `koanf:"allow_exchange" group:"Who may listen" help:"glob of exchanges that may be bound; repeat for more; must not be empty"`
	DenyExchange     []string `koanf:"deny_exchange" group:"Who may listen" help:"glob of exchanges that may not be bound, whatever allows them; repeat for more; an empty list denies nothing"`
	JWKSURL          string   `koanf:"jwks_url" group:"Who may listen" help:"where the keys that sign tokens are published; turns tokens on"`
	JWTKey           string   `koanf:"jwt_key" group:"Who may listen" help:"file with the key that checks tokens (PEM or JWK: RS256, ES256, EdDSA); turns tokens on"`
	JWTHS256         bool     `koanf:"jwt_hs256" group:"Who may listen" help:"the file of --jwt-key holds a shared secret for HS256"`
	JWTAudience      string   `koanf:"jwt_audience" group:"Who may listen" help:"aud that tokens must have"`
	JWTIssuer        string   `koanf:"jwt_issuer" group:"Who may listen" help:"iss that tokens must have"`
	CapabilityAttach bool     `koanf:"capability_attach" group:"Who may listen" help:"knowing a subscription's id suffices to attach to it, also in token mode"`
	AllowOrigin      []string `koanf:"allow_origin" group:"Who may listen" help:"origin whose pages may use the gateway, https://app.example.org or https://*.example.org; repeat for more"`
	TrustedProxy     []string `koanf:"trusted_proxy" group:"Who may listen" help:"network (CIDR) of a proxy whose X-Forwarded-For is believed; repeat for more"`

	LogFrames       int           `koanf:"log_frames" group:"Bounds" help:"events in the log of a subscription"`
	LogBytes        int           `koanf:"log_bytes" group:"Bounds" help:"bytes in the log of a subscription"`
	MemoryBudget    int64         `koanf:"memory_budget" group:"Bounds" help:"bytes in all logs together; under pressure each shrinks toward its fair share"`
	MaxMessageBytes int           `koanf:"max_message_bytes" group:"Bounds" help:"largest message body in bytes; a larger one becomes a gap"`
	QueueMaxLength  int           `koanf:"queue_max_length" group:"Bounds" help:"messages in a queue at the broker"`
	QueueMaxBytes   int64         `koanf:"queue_max_bytes" group:"Bounds" help:"bytes in a queue at the broker"`
	QueueTTL        time.Duration `koanf:"queue_ttl" group:"Bounds" help:"how long a message waits in a queue at the broker"`
	Prefetch        int           `koanf:"prefetch" group:"Bounds" help:"unacknowledged deliveries of a queue"`
	Linger          time.Duration `koanf:"linger" group:"Bounds" help:"how long a subscription outlives its last attachment, in whole seconds"`
	StreamLinger    time.Duration `koanf:"stream_linger" group:"Bounds" help:"the same for subscriptions that a stream made, in whole seconds"`
	MaxLinger       time.Duration `koanf:"max_linger" group:"Bounds" help:"longest linger that may be asked for, in whole seconds"`
	MaxBindings     int           `koanf:"max_bindings" group:"Bounds" help:"bindings of a subscription"`
	MaxAttachments  int           `koanf:"max_attachments" group:"Bounds" help:"attachments of an owned subscription"`

	MaxSubscriptionsPerCaller int     `koanf:"max_subscriptions_per_caller" group:"Bounds" help:"subscriptions that a caller owns"`
	MaxSubscriptions          int     `koanf:"max_subscriptions" group:"Bounds" help:"subscriptions in the process"`
	MaxStreamsPerCaller       int     `koanf:"max_streams_per_caller" group:"Bounds" help:"open streams of a caller"`
	MaxStreams                int     `koanf:"max_streams" group:"Bounds" help:"open streams in the process"`
	CreateRatePerCaller       float64 `koanf:"create_rate_per_caller" group:"Bounds" help:"subscriptions that a caller makes per second"`
	CreateBurstPerCaller      int     `koanf:"create_burst_per_caller" group:"Bounds" help:"subscriptions that a caller makes at once after a pause"`
	CreateRate                float64 `koanf:"create_rate" group:"Bounds" help:"subscriptions made in the process per second"`
	RequestRatePerCaller      float64 `koanf:"request_rate_per_caller" group:"Bounds" help:"requests of a caller per second"`
	RequestBurstPerCaller     int     `koanf:"request_burst_per_caller" group:"Bounds" help:"requests of a caller at once after a pause"`

	Heartbeat    time.Duration `koanf:"heartbeat" group:"Bounds" help:"a ping is sent when nothing else was for this long"`
	WriteTimeout time.Duration `koanf:"write_timeout" group:"Bounds" help:"a reader that takes nothing for this long is closed"`
	Drain        time.Duration `koanf:"drain" group:"Bounds" help:"window over which streams are closed at a stop"`

	LatencyHeader string `koanf:"latency_header" group:"Metrics" help:"AMQP header in which publishers say when they published, in milliseconds since 1970, as timestamp_in_ms of RabbitMQ's own plugin; empty: the property timestamp, in seconds. It feeds warren_publish_to_write_seconds"`

	LogFormat string `koanf:"log_format" group:"Logs" help:"auto (text on a terminal, else JSON), text or json"`
	LogLevel  string `koanf:"log_level" group:"Logs" help:"debug, info, warn or error"`
}

// defaultConfig returns the defaults of the contract.
func defaultConfig() Config {
	core, gate := broker.DefaultLimits(), admission.DefaultLimits()
	return Config{
		Listen: "127.0.0.1:8080", AdminListen: "127.0.0.1:9090", Broker: "memory://",
		AllowExchange: []string{"*"}, DenyExchange: []string{"amq.rabbitmq.*"},
		LogFrames: core.LogFrames, LogBytes: core.LogBytes, MemoryBudget: core.MemoryBudget,
		MaxMessageBytes: core.MaxMessageBytes, QueueMaxLength: 10000, QueueMaxBytes: 64 << 20,
		QueueTTL: 5 * time.Minute, Prefetch: 128,
		Linger: broker.DefaultLinger, StreamLinger: broker.DefaultStreamLinger, MaxLinger: broker.MaxLinger,
		MaxBindings: core.MaxBindings, MaxAttachments: core.MaxAttachments,
		MaxSubscriptionsPerCaller: gate.SubscriptionsPerCaller, MaxSubscriptions: core.MaxSubscriptions,
		MaxStreamsPerCaller: gate.StreamsPerCaller, MaxStreams: gate.Streams,
		CreateRatePerCaller: gate.CreateRatePerCaller, CreateBurstPerCaller: gate.CreateBurstPerCaller, CreateRate: gate.CreateRate,
		RequestRatePerCaller: gate.RequestRate, RequestBurstPerCaller: gate.RequestBurst,
		Heartbeat: 15 * time.Second, WriteTimeout: 20 * time.Second, Drain: 8 * time.Second,
		LogFormat: "auto", LogLevel: "info",
	}
}

// usesTokens reports whether callers need a token.
func (c *Config) usesTokens() bool { return c.JWKSURL != "" || c.JWTKey != "" }

// usesMemory reports whether the broker is the one in process.
func (c *Config) usesMemory() bool { return strings.HasPrefix(c.Broker, "memory:") }

// Validate answers what is wrong with the configuration, all of it at once.
func (c *Config) Validate() error {
	return errors.Join(c.validateAddresses(), c.validateBroker(), c.validateCallers(), c.validateNetworks(), c.validateBounds(), c.validateLogs())
}

func (c *Config) validateAddresses() error {
	var errs []error
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		errs = append(errs, fmt.Errorf("--listen %q: want host:port", c.Listen))
	} else if !isLoopback(host) && !c.usesTokens() && !c.Anonymous {
		errs = append(errs, fmt.Errorf("--listen %s is reachable from other machines: give --jwks-url or --jwt-key, or say --anonymous to let everybody listen", c.Listen))
	}
	if c.AdminListen != "" {
		if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
			errs = append(errs, fmt.Errorf("--admin-listen %q: want host:port, or nothing to turn it off", c.AdminListen))
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("--tls-cert and --tls-key go together"))
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || !isOrigin(c.PublicURL) || strings.Trim(u.Path, "/") != "" {
			errs = append(errs, fmt.Errorf("--public-url %q: want http(s)://host[:port] and nothing else", maskWebURL(c.PublicURL)))
		}
	}
	return errors.Join(errs...)
}

// isOrigin reports whether it may be an origin, which has no user, query or fragment.
func isOrigin(raw string) bool { return isWebURL(raw) && !strings.ContainsAny(raw, "@?#") }

func isWebURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Config) validateBroker() error {
	if err := checkBrokerURL(c.Broker); err != nil {
		return err
	}
	if c.Demo && !c.usesMemory() {
		return errors.New("--demo publishes, which the gateway does in memory only: leave --broker away or --demo")
	}
	if (c.BrokerCert == "") != (c.BrokerKey == "") {
		return errors.New("--broker-cert and --broker-key go together")
	}
	if len(c.Node) > rabbitmq.MaxNodeLength {
		return fmt.Errorf("--node: a name has at most %d bytes", rabbitmq.MaxNodeLength)
	}
	if strings.ContainsAny(c.Node, "\r\n") { // RabbitMQ would take them out
		return errors.New("--node: a name has no line break")
	}
	for _, e := range c.Exchange {
		name, typ, ok := strings.Cut(e, "=")
		switch {
		case !ok || name == "" || typ == "":
			return fmt.Errorf("--exchange %q: want NAME=TYPE, as orders=topic", e)
		case !isExchangeType(typ):
			return fmt.Errorf("--exchange %q: %q is no exchange type; want topic, direct, fanout, headers or x-…", e, typ)
		}
	}
	return nil
}

// isExchangeType reports whether it is one of AMQP's, or may be a plugin's.
func isExchangeType(typ string) bool {
	return slices.Contains([]string{"topic", "direct", "fanout", "headers"}, typ) || strings.HasPrefix(typ, "x-")
}

func (c *Config) validateCallers() error {
	var errs []error
	if len(c.AllowExchange) == 0 {
		errs = append(errs, errors.New("--allow-exchange: the list is empty, so nothing could be bound: name what may be, '*' for everything, or leave it away"))
	}
	if c.JWKSURL != "" && c.JWTKey != "" {
		errs = append(errs, errors.New("--jwks-url and --jwt-key: give one of them"))
	}
	if c.JWTHS256 && c.JWTKey == "" {
		errs = append(errs, errors.New("--jwt-hs256 needs --jwt-key"))
	}
	if c.Anonymous && c.usesTokens() {
		errs = append(errs, errors.New("--anonymous and tokens exclude each other"))
	}
	if c.JWKSURL != "" && !isWebURL(c.JWKSURL) {
		errs = append(errs, fmt.Errorf("--jwks-url %q: want https://host/path", maskWebURL(c.JWKSURL)))
	}
	if !c.usesTokens() && (c.JWTAudience != "" || c.JWTIssuer != "" || c.CapabilityAttach) {
		errs = append(errs, errors.New("--jwt-audience, --jwt-issuer and --capability-attach need --jwks-url or --jwt-key"))
	}
	return errors.Join(errs...)
}

func (c *Config) validateNetworks() error {
	var errs []error
	for _, network := range c.TrustedProxy {
		if _, err := api.ParseNetwork(network); err != nil {
			errs = append(errs, fmt.Errorf("--trusted-proxy %q: want a network, as 1.2.3.4/32", network))
		}
	}
	for _, origin := range c.AllowOrigin {
		if !isOrigin(origin) { // the rest is checked where the patterns are read
			errs = append(errs, fmt.Errorf("--allow-origin %q: want https://host[:port], or https://*.host for all below it", maskWebURL(origin)))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateBounds() error {
	var errs []error
	for _, f := range configFields(c) {
		if f.group != "Bounds" {
			continue
		}
		switch {
		case !f.positive():
			errs = append(errs, fmt.Errorf("--%s %v: must be more than zero", f.flag, f.value.Interface()))
		case f.value.CanFloat() && math.IsInf(f.value.Float(), 1):
			errs = append(errs, fmt.Errorf("--%s %v: no bound can be turned off", f.flag, f.value.Interface()))
		case !f.wholeSeconds():
			errs = append(errs, fmt.Errorf("--%s %v: want whole seconds, as 30s", f.flag, f.value.Interface()))
		}
	}
	if c.Linger > c.MaxLinger || c.StreamLinger > c.MaxLinger {
		errs = append(errs, errors.New("--linger and --stream-linger must not be above --max-linger"))
	}
	if int64(c.LogBytes) > c.MemoryBudget {
		errs = append(errs, errors.New("--log-bytes must not be above --memory-budget"))
	}
	if c.QueueTTL > 0 && c.QueueTTL < time.Millisecond {
		errs = append(errs, fmt.Errorf("--queue-ttl %v: AMQP counts milliseconds", c.QueueTTL))
	}
	if c.Prefetch > 65535 {
		errs = append(errs, errors.New("--prefetch: AMQP takes at most 65535"))
	}
	return errors.Join(errs...)
}

func (c *Config) validateLogs() error {
	if _, err := logLevel(c.LogLevel); err != nil {
		return err
	}
	switch c.LogFormat {
	case "auto", "text", "json":
		return nil
	}
	return fmt.Errorf("--log-format %q: want auto, text or json", c.LogFormat)
}

// nodeName returns the configured name or one that no other gateway has.
func (c *Config) nodeName() string {
	if c.Node != "" {
		return c.Node
	}
	host, err := os.Hostname()
	if err != nil {
		host = "warren"
	}
	return host + "-" + randomName(6)
}
