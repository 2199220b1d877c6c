package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// certRecheck is how often the certificate's files are looked at, at most: at
// the first handshake after that.
const certRecheck = 10 * time.Second

// certificate is a certificate that is read again when its file changes, so that
// renewing it needs no restart.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex // guards all below
	current *tls.Certificate
	stamp   string    // of the files that current was read from
	checked time.Time // when the files were last looked at
}

// reloadingTLS returns a server's configuration: TLS 1.2 or later, HTTP/2 and
// HTTP/1.1, and the certificate of the files as they are.
func reloadingTLS(certFile, keyFile string, logger *slog.Logger) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.get,
	}, nil
}

// load reads the files. c.mu is held, or nobody else has c yet.
func (c *certificate) load() error {
	stamp, err := c.stampOf()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	c.current, c.stamp = &pair, stamp
	return nil
}

func (c *certificate) stampOf() (string, error) {
	var stamp strings.Builder
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return "", fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		fmt.Fprintf(&stamp, "%d %d ", info.ModTime().UnixNano(), info.Size())
	}
	return stamp.String(), nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certRecheck {
		return c.current, nil
	}
	c.checked = time.Now()
	if stamp, err := c.stampOf(); err == nil && stamp == c.stamp {
		return c.current, nil
	}
	if err := c.load(); err != nil {
		// Half-written files are read again at the next look; the old pair serves meanwhile.
		c.logger.Warn("certificate not reloaded", slog.Any("error", err))
		return c.current, nil
	}
	c.logger.Info("certificate reloaded")
	return c.current, nil
}
