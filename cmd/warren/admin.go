package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminServer serves metrics, health and profiles on an address of its own.
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
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newMetrics(g),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("GET /livez", g.api)
	mux.Handle("GET /readyz", g.api)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &adminServer{
		// No write timeout: a profile takes as long as its seconds parameter says.
		server:   &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		listener: listener,
	}, nil
}

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
