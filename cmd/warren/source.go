package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/memory"
	"github.com/warren-gateway/warren/broker/rabbitmq"
)

// source is where messages come from, and the demo traffic if there is any.
type source struct {
	broker.Source

	memory   *memory.Broker   // nil with RabbitMQ
	rabbit   *rabbitmq.Source // nil in memory
	stopDemo context.CancelFunc
	demoDone chan struct{}
}

func newSource(ctx context.Context, cfg *Config, logger *slog.Logger) (source, error) {
	if !cfg.usesMemory() {
		return newRabbitMQ(cfg, logger)
	}
	m := memory.New(memory.Options{QueueMaxLength: cfg.QueueMaxLength, QueueMaxBytes: int(cfg.QueueMaxBytes), Prefetch: cfg.Prefetch})
	s := source{Source: m, memory: m}
	if cfg.Demo {
		s.demoDone = make(chan struct{})
		ctx, s.stopDemo = context.WithCancel(context.WithoutCancel(ctx))
		go func() { // close stops it and waits
			defer close(s.demoDone)
			if err := memory.Demo(ctx, m, memory.DemoOptions{}); err != nil && !errors.Is(err, context.Canceled) {
				logger.Error("demo traffic ended", slog.Any("error", err))
			}
		}()
	}
	return s, nil
}

func newRabbitMQ(cfg *Config, logger *slog.Logger) (source, error) {
	tlsConfig, err := cfg.brokerTLS()
	if err != nil {
		return source{}, err
	}
	types := map[string]string{}
	for _, e := range cfg.Exchange {
		name, typ, _ := strings.Cut(e, "=")
		types[name] = typ
	}
	r, err := rabbitmq.New(rabbitmq.Options{
		URL: cfg.Broker, Node: cfg.nodeName(), Version: thisBuild().version, Logger: logger, TLS: tlsConfig,
		QueueMaxLength: cfg.QueueMaxLength, QueueMaxBytes: int(cfg.QueueMaxBytes), QueueTTL: cfg.QueueTTL,
		MaxMessageBytes: cfg.MaxMessageBytes, Prefetch: cfg.Prefetch, ExchangeTypes: types,
	})
	if err != nil {
		return source{}, fmt.Errorf("--broker: %w", err)
	}
	return source{Source: r, rabbit: r}, nil
}

// brokerTLS returns the TLS configuration for amqps://, nil for the default.
func (c *Config) brokerTLS() (*tls.Config, error) {
	if c.BrokerCA == "" && c.BrokerCert == "" {
		return nil, nil //nolint:nilnil // nil is the default, as in net/http
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.BrokerCA != "" {
		pem, err := os.ReadFile(c.BrokerCA)
		if err != nil {
			return nil, fmt.Errorf("--broker-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--broker-ca %s holds no certificate in PEM", c.BrokerCA)
		}
	}
	if c.BrokerCert != "" {
		pair, err := tls.LoadX509KeyPair(c.BrokerCert, c.BrokerKey)
		if err != nil {
			return nil, fmt.Errorf("--broker-cert and --broker-key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// close stops the demo and the source.
func (s *source) close(ctx context.Context) error {
	if s.stopDemo != nil {
		s.stopDemo()
		<-s.demoDone
	}
	if s.Source == nil {
		return nil
	}
	return s.Close(ctx)
}
