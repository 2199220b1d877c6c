package world

import (
	"io"
	"net"
	"sync"
	"time"
)

// Balancer hands new connections to the address it is told, and leaves old ones where they are.
type Balancer struct {
	listener net.Listener
	group    sync.WaitGroup

	mu     sync.Mutex // guards the rest
	target string
	conns  map[net.Conn]struct{}
}

// NewBalancer listens on loopback.
func NewBalancer(target string) (*Balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback: it cannot block
	if err != nil {
		return nil, err
	}
	b := &Balancer{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	b.group.Go(b.accept)
	return b, nil
}

// Addr returns where it listens.
func (b *Balancer) Addr() string { return b.listener.Addr().String() }

// Retarget sends new connections somewhere else.
func (b *Balancer) Retarget(target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.target = target
}

func (b *Balancer) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		target := b.target
		b.mu.Unlock()
		b.group.Go(func() { b.serve(conn, target) })
	}
}

func (b *Balancer) serve(conn net.Conn, target string) {
	defer b.drop(conn)
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", target) //nolint:noctx // bounded, and on loopback
	if err != nil {
		return
	}
	defer b.drop(server)
	b.mu.Lock()
	b.conns[conn], b.conns[server] = struct{}{}, struct{}{}
	b.mu.Unlock()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(server, conn) // The end of one direction ends both.
		_ = server.Close()
		close(done)
	}()
	_, _ = io.Copy(conn, server)
	_ = conn.Close()
	<-done
}

func (b *Balancer) drop(conn net.Conn) {
	_ = conn.Close()
	b.mu.Lock()
	delete(b.conns, conn)
	b.mu.Unlock()
}

// Close ends all connections.
func (b *Balancer) Close() {
	_ = b.listener.Close()
	b.mu.Lock()
	for conn := range b.conns {
		_ = conn.Close()
	}
	b.mu.Unlock()
	b.group.Wait()
}
