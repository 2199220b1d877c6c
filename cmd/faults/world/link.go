package world

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// Link is a network between two of the processes: a TCP proxy whose weather changes.
//
// toxiproxy v2.5.0 was tried for this and does not do: taking a toxic away drops bytes of live connections (which corrupts them, while TCP
// loses all that follows or nothing), waits for ever if one of them ends meanwhile, and leaks a goroutine with each connection that breaks.
type Link struct {
	listener net.Listener
	group    sync.WaitGroup

	mu      sync.Mutex // guards the rest
	rng     *rand.Rand
	target  string
	weather Weather
	changed chan struct{} // closed when the weather changes
	pairs   map[*pair]struct{}
	taken   int64
}

// Weather is how a network is. The zero value is fair.
type Weather struct {
	// Down closes every connection and refuses new ones.
	Down bool
	// Swallow lets nothing through and closes nothing, until the weather changes: then connections that it struck are closed.
	Swallow bool
	// Latency delays what goes through, each way, by up to Jitter more, in order.
	Latency, Jitter time.Duration
	// Rate bounds the bytes per second of a connection, each way; 0: not at all.
	Rate int
	// Torn hands on small pieces, so that every message is cut somewhere.
	Torn bool
	// Resets is the share of new connections that are reset within ResetWithin.
	Resets      float64
	ResetWithin time.Duration
}

// NewLink listens on loopback and hands on to an address. What is random in it follows from the seed.
func NewLink(to string, seed uint64) (*Link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback: it cannot block
	if err != nil {
		return nil, fmt.Errorf("starting a proxy: %w", err)
	}
	link := &Link{
		listener: l, target: to, changed: make(chan struct{}), pairs: make(map[*pair]struct{}),
		rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // repeatable, not secret
	}
	link.group.Go(link.accept)
	return link, nil
}

// Addr returns where it listens.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Accepted returns how many connections it has been asked for.
func (l *Link) Accepted() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

// Retarget sends new connections somewhere else, and leaves old ones where they are, as a balancer does.
func (l *Link) Retarget(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = to
}

// Set changes the weather.
func (l *Link) Set(w Weather) {
	l.mu.Lock()
	l.weather = w
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	if w.Down {
		l.Break()
	}
}

// Break resets the connections that there are.
func (l *Link) Break() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		p.reset()
	}
}

// Close ends the link and all of its connections.
func (l *Link) Close() {
	_ = l.listener.Close()
	l.Break()
	l.group.Wait()
}

// now returns the weather and what is closed when it changes.
func (l *Link) now() (Weather, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.weather, l.changed
}

// chance returns a number below 1.
func (l *Link) chance() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.Float64()
}

func (l *Link) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.group.Go(func() { l.serve(conn.(*net.TCPConn)) }) //nolint:forcetypeassert // the listener is TCP's
	}
}

// serve is the life of one connection.
func (l *Link) serve(client *net.TCPConn) {
	defer client.Close() //nolint:errcheck // it is over
	l.mu.Lock()
	target, weather := l.target, l.weather
	l.taken++
	l.mu.Unlock()
	if weather.Down {
		_ = client.SetLinger(0)
		return
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", target)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn) //nolint:forcetypeassert // it dialled TCP
	defer server.Close()          //nolint:errcheck // it is over
	p := &pair{link: l, client: client, server: server, done: make(chan struct{})}
	if !l.admit(p) {
		return
	}
	if l.chance() < weather.Resets {
		timer := time.AfterFunc(time.Duration(l.chance()*float64(weather.ResetWithin)), p.reset)
		defer timer.Stop()
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { p.pump(server, client) })
	pumps.Go(func() { p.pump(client, server) })
	pumps.Wait()
	l.mu.Lock()
	delete(l.pairs, p)
	l.mu.Unlock()
}

// admit takes the connection in, unless the network went down meanwhile.
func (l *Link) admit(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.weather.Down {
		return false
	}
	l.pairs[p] = struct{}{}
	return true
}

// pair is a connection from client to server.
type pair struct {
	link           *Link
	client, server *net.TCPConn
	once           sync.Once
	done           chan struct{} // closed when it ends
}

// reset ends both halves with a RST.
func (p *pair) reset() {
	_ = p.client.SetLinger(0) // An error means that it has ended already.
	_ = p.server.SetLinger(0)
	p.end()
}

// end closes both halves.
func (p *pair) end() {
	p.once.Do(func() { close(p.done) })
	_ = p.client.Close()
	_ = p.server.Close()
}

// piece is something under way.
type piece struct {
	data []byte
	due  time.Time
}

// underWay is how many pieces are on the wire in one direction at most; then the sender is held up.
const underWay = 64

// pump carries one direction. Reading and writing are apart, so that latency does not take away from the rate.
func (p *pair) pump(dst, src *net.TCPConn) {
	pieces := make(chan piece, underWay)
	var writer sync.WaitGroup
	writer.Go(func() { p.write(dst, pieces) })
	p.read(src, pieces)
	close(pieces)
	writer.Wait()
	p.end() // the end of one direction ends both, when what was under way has arrived
}

func (p *pair) read(src *net.TCPConn, pieces chan<- piece) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			w, _ := p.link.now()
			due := time.Now().Add(w.Latency + time.Duration(p.jitter(w)))
			select {
			case pieces <- piece{data: append([]byte(nil), buf[:n]...), due: due}:
			case <-p.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *pair) jitter(w Weather) float64 {
	if w.Jitter == 0 {
		return 0
	}
	return p.link.chance() * float64(w.Jitter)
}

func (p *pair) write(dst *net.TCPConn, pieces <-chan piece) {
	for next := range pieces {
		if !p.wait(time.Until(next.due)) || !p.hand(dst, next.data) {
			p.end()
			for range pieces { // until the reader has noticed
			}
			return
		}
	}
}

// tornSize is how large the pieces of a torn stream are at most.
const tornSize = 600

// hand writes data as the weather lets it, and reports whether the connection lives.
func (p *pair) hand(dst *net.TCPConn, data []byte) bool {
	for len(data) > 0 {
		w, changed := p.link.now()
		if w.Swallow {
			select {
			case <-changed:
			case <-p.done:
			}
			return false
		}
		n, pause := len(data), time.Duration(0)
		if w.Torn {
			n, pause = 1+int(p.link.chance()*tornSize), 300*time.Microsecond
		}
		if w.Rate > 0 {
			n = min(n, max(w.Rate/20, 1)) // a piece in a twentieth of a second
		}
		n = min(n, len(data))
		if w.Rate > 0 {
			pause = time.Duration(n) * time.Second / time.Duration(w.Rate)
		}
		if _, err := dst.Write(data[:n]); err != nil || !p.wait(pause) {
			return false
		}
		data = data[n:]
	}
	return true
}

// wait reports false when the connection ends before.
func (p *pair) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.done:
		return false
	}
}

// Through returns an address with the host of the link in the place of its own.
func Through(url string, l *Link) string {
	scheme, rest, _ := strings.Cut(url, "://")
	authority, path, _ := strings.Cut(rest, "/")
	user := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user = authority[:i+1]
	}
	return scheme + "://" + user + l.Addr() + "/" + path
}
