// Package proxies drives a gateway through nginx and HAProxy, with docs/deploy/nginx.conf and docs/deploy/haproxy.cfg as they
// stand there, but for ports, names and the paths of certificates. It holds tests alone, which need Debian's packages nginx-core and
// haproxy.
//
// The whole conformance suite runs through each, the gateways that it starts by itself behind proxies of their own. Beside it an
// EventSource goes through cuts and a restart of the gateway, and meets what a proxy answers where no gateway does.
package proxies
