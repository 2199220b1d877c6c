package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

// healthDocument is what probes read.
type healthDocument struct {
	Status string `json:"status"`
	// Reasons say why not ready, or what an operator should know.
	Reasons []string `json:"reasons"`
}

// health serves the probes: no host, origin, identity or rate, and no cost.
func (a *API) health() http.Handler {
	r := chi.NewRouter()
	r.MethodNotAllowed(a.noMethod)
	serve := func(w http.ResponseWriter, r *http.Request, h handler) error { return h(w, r, caller{}) }
	a.handle(r, endpointREST, "/livez", methods{"GET": a.livez}, serve)
	a.handle(r, endpointREST, "/readyz", methods{"GET": a.readyz}, serve)
	return r
}

func (a *API) livez(w http.ResponseWriter, _ *http.Request, _ caller) error {
	return writeJSON(w, http.StatusOK, healthDocument{Status: "ok", Reasons: []string{}})
}

func (a *API) readyz(w http.ResponseWriter, _ *http.Request, _ caller) error {
	health := a.opts.Broker.Source().Health()
	doc := healthDocument{Status: "ok", Reasons: append([]string{}, health.Reasons...)}
	status := http.StatusOK
	if a.isDraining() {
		doc.Reasons = append(doc.Reasons, "the gateway is shutting down")
	}
	if !health.Ready && len(health.Reasons) == 0 {
		doc.Reasons = append(doc.Reasons, "the broker cannot be used now")
	}
	if a.isDraining() || !health.Ready {
		doc.Status, status = "unavailable", http.StatusServiceUnavailable
	}
	return writeJSON(w, status, doc)
}
