package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// address is a parsed URL: where the broker is, and who we are there.
type address struct {
	uri  amqp.URI
	host string // host:port
	auth []amqp.Authentication
	tls  *tls.Config // nil: none
	// heartbeat is the URL's, if it has one.
	heartbeat    time.Duration
	hasHeartbeat bool
}

// parseAddress reads the URL. Its errors do not repeat any of it.
func parseAddress(opts Options) (address, error) {
	uri, err := amqp.ParseURI(opts.URL)
	if err != nil {
		return address{}, errors.New("rabbitmq: the broker's URL cannot be read; it begins with amqp:// or amqps://, and special characters in user and password are percent-encoded")
	}
	a := address{uri: uri, host: net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))}
	if a.auth, err = authentications(uri); err != nil {
		return address{}, err
	}
	a.heartbeat, a.hasHeartbeat = heartbeatOf(opts.URL)
	if uri.Scheme != "amqps" {
		return a, nil
	}
	if a.tls, err = tlsConfig(uri); err != nil {
		return address{}, err
	}
	if opts.TLS != nil {
		a.tls = merged(opts.TLS, a.tls)
	}
	if a.tls.ServerName == "" {
		a.tls.ServerName = uri.Host
	}
	return a, nil
}

// merged returns a configuration with what it lacks from the URL's.
func merged(config, fromURL *tls.Config) *tls.Config {
	config = config.Clone()
	if config.RootCAs == nil {
		config.RootCAs = fromURL.RootCAs
	}
	if len(config.Certificates) == 0 && config.GetClientCertificate == nil {
		config.Certificates = fromURL.Certificates
	}
	if config.ServerName == "" {
		config.ServerName = fromURL.ServerName
	}
	return config
}

// heartbeatOf reads the URL's heartbeat parameter, which amqp.ParseURI keeps to itself. It has checked the value.
func heartbeatOf(rawURL string) (time.Duration, bool) {
	_, query, _ := strings.Cut(rawURL, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if seconds, ok := strings.CutPrefix(pair, "heartbeat="); ok {
			n, err := strconv.Atoi(seconds)
			return time.Duration(n) * time.Second, err == nil
		}
	}
	return 0, false
}

func authentications(uri amqp.URI) ([]amqp.Authentication, error) {
	if len(uri.AuthMechanism) == 0 {
		return []amqp.Authentication{uri.PlainAuth()}, nil
	}
	auths := make([]amqp.Authentication, 0, len(uri.AuthMechanism))
	for _, mechanism := range uri.AuthMechanism {
		switch strings.ToUpper(mechanism) {
		case "PLAIN":
			auths = append(auths, uri.PlainAuth())
		case "AMQPLAIN":
			auths = append(auths, uri.AMQPlainAuth())
		case "EXTERNAL":
			auths = append(auths, &amqp.ExternalAuth{})
		default:
			return nil, errors.New("rabbitmq: auth_mechanism in the broker's URL is none of plain, amqplain and external")
		}
	}
	return auths, nil
}

// tlsConfig makes the configuration that the URL's query describes.
func tlsConfig(uri amqp.URI) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: uri.ServerName}
	if uri.CACertFile != "" {
		pem, err := os.ReadFile(uri.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("rabbitmq: reading cacertfile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("rabbitmq: cacertfile holds no certificate in PEM")
		}
	}
	if (uri.CertFile == "") != (uri.KeyFile == "") {
		return nil, errors.New("rabbitmq: certfile and keyfile in the broker's URL go together")
	}
	if uri.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("rabbitmq: reading certfile and keyfile: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// link is an AMQP connection with the wire under it.
type link struct {
	*amqp.Connection
	wire *wire
	// lost gets the reason when the connection ends by itself, and is closed when it is over.
	lost chan *amqp.Error
}

// dial connects. name is what operators see in the broker's list of connections.
func (s *Source) dial(ctx context.Context, name string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.DialTimeout)
	defer cancel()
	socket, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr.host)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	if s.addr.tls != nil {
		secure := tls.Client(socket, s.addr.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			socket.Close()
			return nil, fmt.Errorf("TLS with the broker: %w", err)
		}
		socket = secure
	}
	// Whoever ends the context ends the handshake, too.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	w := newWire(socket, s.opts.WriteTimeout, s.stats.poisoned.add)
	w.frames.deliveries.largest = uint64(max(0, s.opts.MaxMessageBytes))
	conn, err := amqp.Open(w, s.amqpConfig(name))
	if !stop() || err != nil {
		socket.Close()
		return nil, fmt.Errorf("AMQP handshake with the broker: %w", errors.Join(err, ctx.Err()))
	}
	w.established(conn.Config.Heartbeat, conn.Config.FrameSize)
	s.frameMax.Store(int64(conn.Config.FrameSize))
	return &link{Connection: conn, wire: w, lost: conn.NotifyClose(make(chan *amqp.Error, 1))}, nil
}

func (s *Source) amqpConfig(name string) amqp.Config {
	heartbeat := s.opts.Heartbeat
	if s.addr.hasHeartbeat {
		heartbeat = s.addr.heartbeat
	}
	return amqp.Config{
		SASL:       s.addr.auth,
		Vhost:      s.addr.uri.Vhost,
		ChannelMax: s.addr.uri.ChannelMax,
		FrameSize:  frameSize,
		Heartbeat:  heartbeat,
		Locale:     "en_US",
		Properties: amqp.Table{ // amqp.Open writes into it: one for each connection
			"product":         "warren",
			"version":         s.opts.Version,
			"platform":        "Go",
			"information":     "an SSE and WebSocket gateway for RabbitMQ; it only listens",
			"connection_name": name,
		},
	}
}

// close ends the connection in order, within the time given.
func (l *link) close(within time.Duration) {
	l.wire.expire(time.Now().Add(within))
	_ = l.Close() // An error means that the connection is gone already, or by now.
}
