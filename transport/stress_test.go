package transport_test

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// TestStreamsComeAndGoUnderLoad opens and closes streams of both kinds while
// messages flow, in every way that a client can leave; the harness checks that
// no session is closed twice, TestMain that no goroutine stays.
func TestStreamsComeAndGoUnderLoad(t *testing.T) {
	g := newGateway(t, setup{})
	stop := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				g.publish("1", "2", "3")
				g.core.Stats() // some other work of the core
			}
		}
	})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 15 {
				if rand.IntN(2) == 0 {
					g.visitSSE()
				} else {
					g.visitWS()
				}
			}
		})
	}
	clients.Wait()
	g.attached(0)
	close(stop)
	publisher.Wait()
	g.ended(120)
	for _, s := range g.sessions {
		<-s.closed
	}
	if sse, ws := g.server.Open(); sse+ws != 0 {
		t.Errorf("%d SSE and %d WebSocket streams are left", sse, ws)
	}
}

// visitSSE reads some events and leaves.
func (g *gateway) visitSSE() {
	_, r := g.get("/sse?from=unread")
	for range rand.IntN(20) {
		r.event()
	}
	_ = r.conn.Close()
}

// visitWS asks a few things and leaves: in order, breaking the rules, or at once.
func (g *gateway) visitWS() {
	s := g.socket("/ws?from=unread")
	for range rand.IntN(20) {
		s.ask(`{"type":"ping"}`)
		s.text()
	}
	switch rand.IntN(3) {
	case 0:
		s.write(frame(0x88, "\x03\xe8"))
	case 1:
		s.write(frame(0x82, "binary"))
	}
	_ = s.conn.Close()
}
