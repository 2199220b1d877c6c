package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/broker"
)

// guardAdmin keeps pages of other sites away from the admin listener. It has no
// passwords: that it is on loopback, or on a private network, is what protects
// it, and a browser on that machine would lend any page its place there.
func guardAdmin(next http.Handler, loopback bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.SetSecurityHeaders(w.Header())
		w.Header().Set("X-Frame-Options", "DENY")
		if err := checkAdminRequest(r, loopback); err != nil {
			refuseAdmin(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkAdminRequest refuses what a page of another site makes a browser send.
func checkAdminRequest(r *http.Request, loopback bool) *broker.Error {
	local, literal := hostKind(r.Host)
	if loopback && !local {
		// A name of somebody else's that suddenly means 127.0.0.1 (DNS rebinding).
		return broker.Errorf(broker.CodeWrongHost, "this listener is on loopback and answers to localhost and 127.0.0.1 alone")
	}
	site, origins := r.Header.Get("Sec-Fetch-Site"), r.Header.Values("Origin")
	for _, origin := range origins {
		if !strings.EqualFold(origin, "http://"+r.Host) && !strings.EqualFold(origin, "https://"+r.Host) {
			return broker.Errorf(broker.CodeForbiddenOrigin, "a page of another origin made this request")
		}
	}
	if (site == "cross-site" || site == "same-site") && !isLink(r) {
		return broker.Errorf(broker.CodeForbiddenOrigin, "a page of another site made this request")
	}
	browser := site != "" || len(origins) > 0
	if browser && !local && !literal && r.Method != http.MethodGet && r.Method != http.MethodHead {
		// Which names are ours nobody has said, so that a rebound one looks the same.
		return broker.Errorf(broker.CodeForbiddenOrigin, "from a browser this works by address, or on localhost, not by name")
	}
	return nil
}

// isLink lets a link on another site, a wiki's, lead here: it opens a page that
// the other site can neither read nor frame.
func isLink(r *http.Request) bool {
	return r.URL.Path == "/" && r.Method == http.MethodGet &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// hostKind says of a Host header whether it is this machine itself, and whether
// it is an address, which cannot be rebound.
func hostKind(host string) (local, literal bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true, false
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.Unmap().IsLoopback(), err == nil
}

// refuseAdmin answers an error as the API does.
func refuseAdmin(w http.ResponseWriter, err *broker.Error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(api.Status(err.Code))
	_, _ = w.Write(append(api.Problem(err), '\n')) //nolint:gosec // JSON with < escaped, and nosniff; a client that is gone is no error of ours
}
