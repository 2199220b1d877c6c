package suite

import (
	"context"
	"net/http"
)

// Front puts a proxy before a gateway. It calls start once, with the arguments that a gateway behind this proxy needs, among them
// where to listen. It returns where the proxy does, and what ends it.
type Front func(ctx context.Context, start func(args ...string) error) (address string, stop func(), err error)

// proxied takes from answers what is the proxy's and not the gateway's, so that they can be held to the gateway's contract.
type proxied struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (p proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// What a proxy says of itself.
	resp.Header.Del("Server")
	resp.Header.Del("Via")
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Header.Del("Sec-Websocket-Accept") // HAProxy answers the key of a handshake although the gateway did not take it
	}
	if resp.StatusCode == http.StatusUpgradeRequired && resp.ProtoMajor == 1 {
		resp.Header.Set("Connection", "Upgrade") // Connection is about one hop (RFC 9110, 7.6.1): this is the proxy's own
	}
	return resp, nil
}

// CloseIdleConnections is what http.Client calls.
func (p proxied) CloseIdleConnections() {
	if next, ok := p.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// untaken is how many bytes may be under way to a reader that takes nothing: Linux lets a socket hold 4 MiB of what the peer
// does not take. Before a proxy there are two such sockets, and its own buffers.
func (w *World) untaken() int {
	if w.options.Front != nil {
		return 14 << 20
	}
	return 5 << 20
}
