package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxQueuesPerConnection is how many queues a connection owns at most. The broker's channel_max is 2,047 by default, and
// recovery needs channels beside the consuming ones.
const MaxQueuesPerConnection = 1000

// MaxNodeLength keeps "warren.<node>.<stream id>.<incarnation>" well below AMQP's 255 bytes.
const MaxNodeLength = 128

// Options say which broker to use and how. Only URL and Node are required; a zero field means the default.
type Options struct {
	// URL is amqp:// or amqps://, with user, password, host, port and virtual host, and the query parameters of
	// https://www.rabbitmq.com/docs/uri-query-parameters. It never appears in logs or errors.
	URL string
	// Node names this gateway at the broker, in queues, connections and its exchange: at most 128 bytes. Two gateways on
	// one virtual host need different names.
	Node string
	// Version is the gateway's version, for the broker's list of connections; default "dev".
	Version string
	// Logger; default slog.DiscardHandler.
	Logger *slog.Logger
	// TLS is used with amqps://, and what it lacks of roots, certificates and server name is what the URL's query names;
	// default: that alone, and the system's roots.
	TLS *tls.Config

	// QueueMaxLength is x-max-length of each queue in messages; default 10,000.
	QueueMaxLength int
	// QueueMaxBytes is x-max-length-bytes of each queue; default 64 MiB.
	QueueMaxBytes int
	// QueueTTL is x-message-ttl of each queue; default 5 minutes.
	QueueTTL time.Duration
	// MaxMessageBytes is how large a body is delivered; of a larger one, its size alone. Default 0: all are delivered.
	MaxMessageBytes int
	// Prefetch is how many deliveries of a queue may be unacknowledged, at most 65,535; default 128.
	Prefetch int
	// SoloQueues is how many queues of a connection are consumed on a channel of their own; the others share channels, 32 on
	// each. Measured on two cores, deliveries per second against a bare consumer with a channel for each queue: with 100 queues
	// 0.85 on channels of their own and 1.07 on shared ones, with 1,000 1.06 on shared ones. Default 16; negative: none.
	SoloQueues int

	// Heartbeat is the AMQP heartbeat, in whole seconds; default 10 s. A dead connection is noticed after twice as long. The
	// URL's heartbeat parameter outranks it, the broker may lower it.
	Heartbeat time.Duration
	// DialTimeout bounds connecting, TLS and the AMQP handshake together; default 10 s.
	DialTimeout time.Duration
	// WriteTimeout bounds a write to the broker, after which the connection counts as lost; default 10 s.
	WriteTimeout time.Duration
	// OperationTimeout bounds Open, Bind and Unbind where their context does not; default 15 s.
	OperationTimeout time.Duration

	// ExchangeTypes are the types of exchanges that the operator told, by name: AMQP cannot be asked for them.
	ExchangeTypes map[string]string
	// ProbeInterval is how often exchanges in use are looked for; default 10 s.
	ProbeInterval time.Duration
	// CanaryInterval is how often the canary publishes; default 5 s.
	CanaryInterval time.Duration
	// SlowRoundTrip is the canary's round trip from which on the broker counts as overloaded; default 1 s.
	SlowRoundTrip time.Duration
	// IdleTimeout is how long a connection without queues stays open; one always does. Default 30 s.
	IdleTimeout time.Duration

	// RecoverConcurrency is how many queues are made again at the same time; default 16.
	RecoverConcurrency int
	// RecoverDelay is the back-off's unit: the first attempt to make a queue or connection again waits for half to one of
	// it, each further one for twice as long as before, up to MaxRecoverDelay. Default 200 ms.
	RecoverDelay time.Duration
	// MaxRecoverDelay bounds the back-off; default 5 s. For connections it is at most 1 s.
	MaxRecoverDelay time.Duration
}

func (o Options) withDefaults() Options {
	orString(&o.Version, "dev")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orInt(&o.QueueMaxLength, 10_000)
	orInt(&o.QueueMaxBytes, 64<<20)
	orDuration(&o.QueueTTL, 5*time.Minute)
	orInt(&o.Prefetch, 128)
	if o.SoloQueues == 0 {
		o.SoloQueues = 16
	}
	orDuration(&o.Heartbeat, 10*time.Second)
	orDuration(&o.DialTimeout, 10*time.Second)
	orDuration(&o.WriteTimeout, 10*time.Second)
	orDuration(&o.OperationTimeout, 15*time.Second)
	orDuration(&o.ProbeInterval, 10*time.Second)
	orDuration(&o.CanaryInterval, 5*time.Second)
	orDuration(&o.SlowRoundTrip, time.Second)
	orDuration(&o.IdleTimeout, 30*time.Second)
	orInt(&o.RecoverConcurrency, 16)
	orDuration(&o.RecoverDelay, 200*time.Millisecond)
	orDuration(&o.MaxRecoverDelay, 5*time.Second)
	return o
}

// check answers what New refuses. It repeats nothing of the URL, which holds a password.
func (o Options) check() error {
	switch {
	case o.Node == "":
		return errors.New("rabbitmq: a node name is needed")
	case len(o.Node) > MaxNodeLength:
		return fmt.Errorf("rabbitmq: the node name is longer than %d bytes", MaxNodeLength)
	case !utf8.ValidString(o.Node):
		return errors.New("rabbitmq: the node name is not valid UTF-8")
	case strings.ContainsAny(o.Node, "\r\n"): // RabbitMQ takes them out of what is declared, and of nothing else.
		return errors.New("rabbitmq: the node name has a line break")
	case o.Prefetch > 65_535:
		return errors.New("rabbitmq: prefetch is above 65535")
	}
	return nil
}

func orString(v *string, def string) {
	if *v == "" {
		*v = def
	}
}

func orInt(v *int, def int) {
	if *v <= 0 {
		*v = def
	}
}

func orDuration(v *time.Duration, def time.Duration) {
	if *v <= 0 {
		*v = def
	}
}
