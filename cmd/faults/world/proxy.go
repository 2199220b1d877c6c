package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// server is what toxiproxy wants behind its proxies; nobody serves its HTTP interface.
var server = sync.OnceValue(func() *toxiproxy.ApiServer {
	zerolog.SetGlobalLevel(zerolog.Disabled) // its toxics log without being given a logger
	return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
})

// Link is a network connection between two of the processes, that can be disturbed.
type Link struct {
	proxy *toxiproxy.Proxy
	n     int
	mu    sync.Mutex // guards n and the order of changes
}

// NewLink listens on loopback and hands on to an address.
func NewLink(to string) (*Link, error) {
	l := &Link{proxy: toxiproxy.NewProxy(server(), to, "127.0.0.1:0", to)}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("starting a proxy: %w", err)
	}
	return l, nil
}

// Addr returns where it listens.
func (l *Link) Addr() string { return l.proxy.Listen }

// Cut closes every connection and accepts no others until Restore.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Stop()
}

// Restore ends Cut.
func (l *Link) Restore() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proxy.Start()
}

// Blink cuts the connections that there are.
func (l *Link) Blink() error {
	l.Cut()
	return l.Restore()
}

// Direction says which way a disturbance works.
type Direction string

// The directions, seen from who connects.
const (
	ToServer   Direction = "upstream"
	FromServer Direction = "downstream"
)

// disturb adds a toxic of toxiproxy.
func (l *Link) disturb(kind string, toxicity float64, attributes map[string]any, directions ...Direction) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range directions {
		l.n++
		text, err := json.Marshal(map[string]any{
			"name": fmt.Sprintf("%s-%d", kind, l.n), "type": kind, "stream": string(d), "toxicity": toxicity, "attributes": attributes,
		})
		if err != nil {
			return err
		}
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			return fmt.Errorf("disturbing the network: %w", err)
		}
	}
	return nil
}

// Swallow lets nothing through any more, while connections stay open, until Calm, which closes those that swallowed something.
func (l *Link) Swallow(directions ...Direction) error {
	return l.disturb("timeout", 1, map[string]any{"timeout": 0}, directions...)
}

// Slow delays and throttles.
func (l *Link) Slow(latency, jitter, kilobytes int, directions ...Direction) error {
	if err := l.disturb("latency", 1, map[string]any{"latency": latency, "jitter": jitter}, directions...); err != nil {
		return err
	}
	return l.disturb("bandwidth", 1, map[string]any{"rate": kilobytes}, directions...)
}

// Tear hands on what comes in small pieces, and resets a part of the connections a while after something went through.
func (l *Link) Tear(share float64, after int, directions ...Direction) error {
	if err := l.disturb("slicer", 1, map[string]any{"average_size": 200, "size_variation": 150, "delay": 500}, directions...); err != nil {
		return err
	}
	return l.disturb("reset_peer", share, map[string]any{"timeout": after}, FromServer)
}

// Calm ends all disturbances.
func (l *Link) Calm(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Toxics.ResetToxics(ctx)
}

// Through returns an address with the host of another.
func Through(url string, l *Link) (string, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return "", fmt.Errorf("%q is no URL", url)
	}
	authority, path, _ := strings.Cut(rest, "/")
	user := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user = authority[:i+1]
	}
	if _, _, err := net.SplitHostPort(l.Addr()); err != nil {
		return "", err
	}
	return scheme + "://" + user + l.Addr() + "/" + path, nil
}
