package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminServer serves metrics, health, subscriptions and profiles on an address
// of its own.
type adminServer struct {
	server   *http.Server
	listener net.Listener
}

func newAdminServer(ctx context.Context, g *gateway) (*adminServer, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", g.cfg.AdminListen)
	if err != nil {
		return nil, fmt.Errorf("--admin-listen %s (--admin-listen '' turns it off): %w", g.cfg.AdminListen, err)
	}
	return &adminServer{
		// No write timeout: a profile takes as long as its seconds parameter says.
		server: &http.Server{
			Handler: adminHandler(g, isLoopbackAddress(listener.Addr())), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 32 << 10,
		},
		listener: listener,
	}, nil
}

func isLoopbackAddress(a net.Addr) bool {
	address, err := netip.ParseAddrPort(a.String())
	return err == nil && address.Addr().Unmap().IsLoopback()
}

// adminHandler routes what operators and their tools ask for. Probes come by any
// name and pass unchecked, the rest only if no page of another site asks.
func adminHandler(g *gateway, loopback bool) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newMetrics(g),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /{$}", serveAdminPage)
	mux.HandleFunc("GET /admin/subscriptions", g.listSubscriptions)
	mux.HandleFunc("DELETE /admin/subscriptions/{stream}", g.evictSubscription)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", programName)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)

	all := http.NewServeMux()
	all.Handle("GET /livez", g.api)
	all.Handle("GET /readyz", g.api)
	all.Handle("/", guardAdmin(mux, loopback))
	return all
}

// programName answers in place of pprof.Cmdline, whose flags may hold the
// broker's password.
func programName(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "warren") }

func (a *adminServer) url() string { return "http://" + reachable(a.listener.Addr()) }

func (a *adminServer) serve() error {
	if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin listener: %w", err)
	}
	return nil
}

func (a *adminServer) close(ctx context.Context) error {
	defer func() { _ = a.listener.Close() }() // Shutdown does it, if it served
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		return a.server.Close()
	}
	return nil
}
