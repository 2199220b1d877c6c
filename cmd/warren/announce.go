package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// announce says what to open and what to curl.
func (g *gateway) announce(p process) {
	base := g.baseURL()
	admin := ""
	if g.admin != nil {
		admin = g.admin.url()
	}
	g.logger.Info("listening", slog.String("url", base), slog.String("broker", maskURL(g.cfg.Broker)),
		slog.String("version", thisBuild().version), slog.String("admin", admin))
	exchange := g.cfg.exampleExchange()
	header, flag := "", ""
	if g.cfg.usesTokens() {
		header, flag = ` -H "Authorization: Bearer $TOKEN"`, ` --token "$TOKEN"`
	}
	fmt.Fprintf(p.stdout, `
warren %s listens to %s

  open     %s/
  curl     curl -N%s '%s/v1/sse?exchange=%s'
  listen   %s listen %s '%s=#'%s
`, thisBuild().version, maskURL(g.cfg.Broker), base, header, base, url.QueryEscape(exchange), os.Args[0], base, exchange, flag)
	if g.source.memory != nil {
		fmt.Fprintf(p.stdout, `  publish  curl -s%s %s/v1/exchanges/%s/publish -H 'content-type: application/json' \
             -d '{"routing_key":"linux.hello","payload":"{\"hello\":\"warren\"}","payload_encoding":"string","properties":{"content_type":"application/json"}}'
`, header, base, exchange)
	}
	if admin != "" {
		fmt.Fprintf(p.stdout, "  metrics  curl -s %s/metrics\n  admin    %s/\n", admin, admin)
	}
	fmt.Fprintln(p.stdout)
}

// exampleExchange names an exchange that may be listened to: at RabbitMQ that is
// known of those alone that were named, because its user may read no others.
func (c *Config) exampleExchange() string {
	switch {
	case c.Demo:
		return "builds"
	case c.usesMemory():
		return "amq.topic"
	case len(c.Exchange) > 0:
		name, _, _ := strings.Cut(c.Exchange[0], "=")
		return name
	}
	return "EXCHANGE"
}

func (g *gateway) baseURL() string {
	if g.cfg.PublicURL != "" {
		return strings.TrimSuffix(g.cfg.PublicURL, "/")
	}
	scheme := "http"
	if g.cfg.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(g.listener.Addr())
}

// reachable returns the host and port under which this machine reaches a listener:
// one on all addresses has none that could be put into a URL.
func reachable(listener net.Addr) string {
	if address, err := netip.ParseAddrPort(listener.String()); err == nil && address.Addr().IsUnspecified() {
		return fmt.Sprintf("localhost:%d", address.Port())
	}
	return listener.String()
}
