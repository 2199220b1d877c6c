package rabbitmq

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy is a TCP proxy before the broker that can stop to hand on what the broker sends.
type proxy struct {
	url string

	mu sync.RWMutex // held for writing while stalled
}

func newProxy(t testing.TB, address string) *proxy {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	p := &proxy{url: u.String()}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := new(net.Dialer).DialContext(context.Background(), "tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			tasks.Go(func() { p.pipe(server, client, func() {}) })
			tasks.Go(func() { p.pipe(client, server, func() { p.mu.RLock(); p.mu.RUnlock() }) }) //nolint:staticcheck // waits
		}
	})
	t.Cleanup(func() {
		l.Close()
		tasks.Wait()
	})
	return p
}

func (p *proxy) pipe(dst, src net.Conn, wait func()) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		wait()
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// stall lets nothing through from the broker until what it answers is called.
func (p *proxy) stall() (release func()) {
	p.mu.Lock()
	return p.mu.Unlock
}
