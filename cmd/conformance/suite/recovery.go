package suite

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

func init() {
	register(
		Check{
			Name: "cut the connection between gateway and broker", Needs: Gateway | AMQP | Patient, Run: recoveryCut,
			Of: []string{"P-65", "P-106", "P-191", "P-138", "P-140"},
		},
	)
}

// wire is a proxy between gateway and broker that can be cut.
type wire struct {
	to       string
	listener net.Listener
	all      sync.WaitGroup

	mu    sync.Mutex // guards the rest
	cut   bool
	conns map[net.Conn]bool
}

// newWire starts a proxy and returns the AMQP address that leads through it.
func (t *T) newWire(amqpURL string) (*wire, string) {
	u, err := url.Parse(amqpURL)
	t.Must(err)
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "5672")
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(t.ctx, "tcp", "127.0.0.1:0")
	t.Must(err)
	w := &wire{to: u.Host, listener: listener, conns: map[net.Conn]bool{}}
	u.Host = listener.Addr().String()
	w.all.Go(func() { // ends when the listener is closed
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.all.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.set(true)
		w.all.Wait()
	})
	return w, u.String()
}

// set cuts the wire, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for conn := range w.conns {
			_ = conn.Close()
		}
	}
}

// keep takes a connection into account, or closes it while the wire is cut.
func (w *wire) keep(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		_ = conn.Close()
		return false
	}
	w.conns[conn] = true
	return true
}

func (w *wire) serve(in net.Conn) {
	if !w.keep(in) {
		return
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	var d net.Dialer
	out, err := d.DialContext(ctx, "tcp", w.to)
	cancel()
	if err != nil || !w.keep(out) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(out, in) // either end may go
		_ = out.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(in, out)
		_ = in.Close()
	})
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, in)
	delete(w.conns, out)
}

func recoveryCut(t *T) {
	w, through := t.newWire(t.options.AMQPURL)
	g, _ := t.GatewayOn(through, map[string]float64{"heartbeat": 2})
	x := g.Exchange("topic")
	s := g.Create(on(x, "#"))
	sse, ws := s.SSE(), s.WS()
	sse.Ready()
	ws.Ready()
	g.Publish(x, "a", "m1", "m2")
	sse.Bodies(2)
	ws.Bodies(2)
	w.set(true)
	g.Eventually(g.patience, "the subscription is recovering", func() bool { return str(s.Get(), "state") == "recovering" })
	old := s.SSE("from", "earliest")
	old.Ready()
	got := old.Bodies(2)
	ping, err := sse.take(g.patience)
	g.Must(err)
	g.Is("P-65", got == "m1 m2" && ping.Type() == "ping" && num(s.Get(), "attachments", "sse") == 2, "state recovering; what the log holds is served (%s), an open stream gets %s", got, ping.Type())
	r := g.readiness()
	g.Is("P-191", r.Status == http.StatusServiceUnavailable && str(r.Body, "status") == "unavailable" && len(r.Body["reasons"].([]any)) > 0, "200; without a broker %s %s", r, r.Raw)
	refused := g.TryCreate(object{"bindings": on(x, "#")})
	g.Is("P-138", refused.Refused(503, "broker_unavailable", "") && refused.Header.Get("Retry-After") != "", "without a broker: %s, Retry-After: %s", refused, refused.Header.Get("Retry-After"))
	stream := g.SSE("/v1/sse"+query("exchange", x, "routing_key", "other"), nil)
	bye := stream.Next()
	g.Is("P-140", stream.Status == http.StatusOK && num(bye.object, "code") == 4503 && bye.object["reconnect"] == true, "without a broker: %d, %s", stream.Status, bye)
	w.set(false)
	g.Eventually(20*time.Second, "the subscription is active again", func() bool { return str(s.Get(), "state") == "active" })
	g.Publish(x, "a", "m3")
	one, two := sse.Next(), ws.Next()
	after, also := sse.Next(), ws.Next()
	missed, there := one.object["missed"]
	g.Is("P-106", one.IsGap("broker_reconnected") && there && missed == nil && string(one.Raw) == string(two.Raw) && after.Body() == "m3" && also.Body() == "m3",
		"%s, then %s, on both transports", one, after)
}
