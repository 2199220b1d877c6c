package suite

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

func init() {
	register(
		Check{
			Name: "publish more than a log holds", Needs: Patient | First, Run: gapsFlood,
			Of: []string{"P-96", "P-97", "P-98", "P-100", "P-101", "P-102", "P-107", "P-122", "P-154", "P-69"},
		},
	)
}

// flood is a subscription whose log was filled to beyond its bounds.
type flood struct {
	*T
	s         *Subscription
	x         string
	published int      // messages, numbered from 0
	live      *Stream  // a reader that keeps up; nil before it is there
	taken     int      // messages it has got
	gaps      int      // gaps it has got
	slots     []string // what the offsets 1, 2, … hold: "m0", or "bindings"
	pad       string
}

// gapsFlood fills one log beyond its bounds, and looks at what becomes of readers that were cut, paused or stuck meanwhile.
// It is one check because so many messages have to be published for it.
func gapsFlood(t *T) {
	f := newFlood(t)
	paused := f.s.WS()
	paused.Ready()
	f.live = f.s.SSE()
	f.live.Ready()
	paused.Ask(object{"type": "pause"})
	paused.Expect("paused")
	stuck, slow := t.stuck(f.s.Path+"/sse"), t.stuck(f.s.Path+"/sse")
	cut := f.s.SSE()
	cut.Ready()
	f.publish(2)
	cut.Bodies(1)
	cut.Cut()
	f.fill()
	f.oldest() // waits for the last
	f.LetOthersStart()
	f.lookSlow(slow)
	f.lookLive()
	f.lookCut(cut.Last())
	f.lookPaused(paused)
	f.lookStuck(stuck)
}

func newFlood(t *T) *flood {
	f := &flood{T: t, x: t.Exchange("topic")}
	f.s = t.Create(on(f.x, "#"), "payload", "raw")
	size := 56 << 10
	if t.options.AMQPURL != "" {
		size = min(size*4, int(t.Bound("max-message-bytes"))-100)
	}
	f.pad = strings.Repeat("x", min(size, int(t.Bound("max-message-bytes"))-100))
	return f
}

// publish publishes the next messages.
func (f *flood) publish(n int) {
	for range n {
		f.Publish(f.x, "a", fmt.Sprintf("m%d %s", f.published, f.pad))
		f.slots = append(f.slots, fmt.Sprint("m", f.published))
		f.published++
		f.follow(f.published - keepsUp)
	}
}

// keepsUp is how many messages the live reader may be behind: far less than the log holds. Publishing waits for it, since a slow machine
// may run this reader as slowly as it likes.
const keepsUp = 8

// follow has the live reader take the messages up to a number.
func (f *flood) follow(number int) {
	for f.live != nil && f.taken < number {
		switch g := f.live.Next(); g.Type() {
		case "message":
			if got := messageNumber(g); got != f.taken {
				f.Fatalf("a reader that was never behind got %s in place of m%d", g, f.taken)
			}
			f.taken++
		case "gap":
			f.gaps++
		}
	}
}

// mark changes the bindings, which puts a marker into the log.
func (f *flood) mark() {
	f.s.Bind(on(f.x, fmt.Sprint("k", len(f.slots)))...)
	f.slots = append(f.slots, "bindings")
}

// fill publishes what the log holds and what sockets hold of a reader that takes nothing, with markers among the messages
// where the oldest that is kept will be.
func (f *flood) fill() {
	holds := min(int(f.Bound("log-bytes"))/len(f.pad), int(f.Bound("log-frames")))
	f.publish(f.untaken() / len(f.pad))
	for range 15 {
		f.publish(1)
		f.mark()
	}
	f.publish(holds - 10)
}

// oldest returns the offset of the oldest event that is kept, when all that was published has come to the gateway.
func (f *flood) oldest() int {
	var stream, id string
	var offset int
	f.Eventually(f.patience, "what was published has come", func() bool {
		now := f.s.Get()
		id = str(now, "oldest")
		return str(now, "newest") == f.id(len(f.slots))
	})
	if i := strings.LastIndexByte(id, '.'); i > 0 {
		stream = id[:i]
		_, _ = fmt.Sscan(id[i+1:], &offset) // 0 is seen below
	}
	if stream != str(f.s.First, "stream") || offset < 1 || offset > len(f.slots) {
		f.Fatalf("oldest is %q, and %d events were brought about", id, len(f.slots))
	}
	return offset
}

// at returns what an offset holds.
func (f *flood) at(offset int) string { return f.slots[offset-1] }

func (f *flood) id(offset int) string { return fmt.Sprintf("%s.%d", str(f.s.First, "stream"), offset) }

// messageNumber returns the number of a message.
func messageNumber(f *Frame) int {
	n := -1
	_, _ = fmt.Sscanf(f.Body(), "m%d", &n) // -1 is no message of ours
	return n
}

// lookLive looks at a reader that was never behind.
func (f *flood) lookLive() {
	f.follow(f.published)
	f.Is("P-97", f.gaps == 0, "a reader beside those that fell behind got %d messages and %d gaps", f.taken, f.gaps)
	f.live.Cut()
}

// missing counts the messages between two offsets, both left out.
func (f *flood) missing(from, to int) int64 {
	n := int64(0)
	for offset := from + 1; offset < to; offset++ {
		if f.at(offset) != "bindings" {
			n++
		}
	}
	return n
}

// lookCut looks at a reader that was cut at a position that is no longer kept.
func (f *flood) lookCut(position string) {
	oldest := f.oldest()
	s := f.SSE(f.s.Path+"/sse", after(position))
	ready, gap := s.Ready(), s.Next()
	f.Is("P-102", gap.IsGap("evicted"), "%s, %s", ready, gap)
	f.Is("P-101", ready.ID() == position && ready.object["resumed"] == true, "given %s: %s", short(position), ready)
	f.Is("P-100", gap.ID() == f.id(oldest-1), "%s before .%d", gap, oldest)
	marker, first := s.Next(), s.Next()
	want := f.missing(1, oldest)
	f.Is("P-96", num(gap.object, "missed") == want && first.ID() == f.id(oldest), "%s, then %s: missing are %d", gap, first, want)
	f.Is("P-98", num(gap.object, "missed") == want, "missed %d: of %d evicted events the others are markers", num(gap.object, "missed"), oldest-2)
	// One binding from the start, and one more with each marker up to there.
	bindings := 1 + oldest - 1 - int(f.missing(0, oldest))
	f.Is("P-107", marker.Type() == "bindings" && marker.ID() == gap.ID() && len(list(marker.object, "bindings")) == bindings,
		"%s, then bindings %s with %d bindings, as they were there", gap, short(marker.ID()), len(list(marker.object, "bindings")))
	s.Cut()
	for _, back := range []*Stream{f.SSE(f.s.Path+"/sse", after(gap.ID())), f.WS(f.s.Path+"/ws", after(gap.ID()))} {
		back.Ready()
		next := back.Next()
		for next.Type() == "bindings" && next.ID() == gap.ID() {
			next = back.Next()
		}
		f.Is("P-100", next.ID() == f.id(oldest), "%s before .%d; back after it: %s", gap, oldest, next)
		f.Is("P-69", next.ID() == f.id(oldest), "a gap's id on both transports: %s", next)
		back.Cut()
	}
}

// lookPaused looks at a reader that was paused all the time.
func (f *flood) lookPaused(paused *Stream) {
	held := 0
	for _, frame := range paused.Rest() {
		if frame.ID() != "" {
			held++
		}
	}
	oldest := f.oldest()
	paused.Ask(object{"type": "resume"})
	resumed, gap := paused.Next(), paused.Next()
	marker, first := paused.Next(), paused.Next()
	want := f.missing(0, oldest)
	f.Is("P-122", held == 0 && resumed.Type() == "resumed" && gap.IsGap("evicted") && num(gap.object, "missed") == want && marker.ID() == gap.ID() && first.ID() == f.id(oldest),
		"%d frames while paused; %s, %s (missing are %d), then %s", held, resumed.Type(), gap, want, first)
	f.Is("P-97", gap.IsGap("evicted") && num(gap.object, "missed") == want, "an attachment that was paused: %s", gap)
	paused.Cut()
}

// stuckReader is an SSE client that takes nothing until it is told to, with little room for what it does not take.
type stuckReader struct {
	conn  net.Conn
	lines *bufio.Reader
	ready object
	since time.Time
}

// stuck attaches such a client and reads no further than ready.
func (t *T) stuck(path string) *stuckReader {
	var d net.Dialer
	conn, err := d.DialContext(t.ctx, "tcp", t.base.Host)
	t.Must(err)
	t.Cleanup(func() { _ = conn.Close() })
	tcp := conn.(*net.TCPConn) //nolint:forcetypeassert // what dialling tcp gives
	// Much less than a segment, 64 KiB on loopback, would make the kernel wait before it lets the peer go on.
	t.Must(tcp.SetReadBuffer(128 << 10))
	if t.HTTPS() {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // as for all gateways under test
	}
	t.Must(t.requests.Wait(t.ctx))
	h := header("Accept", "text/event-stream", "Connection", "close")
	t.authorize(h)
	var lines strings.Builder
	_ = h.Write(&lines) // a Builder takes all
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, t.base.Host, lines.String())
	t.Must(err)
	t.Must(conn.SetReadDeadline(time.Now().Add(t.patience)))
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil) //nolint:bodyclose // the connection is closed, and the rest not read
	t.Must(err)
	r := &stuckReader{conn: conn, lines: bufio.NewReaderSize(resp.Body, 4096), since: time.Now()}
	f, err := r.next()
	t.Must(err)
	if str(f, "type") != "ready" {
		t.Fatalf("a raw SSE client got %v", f)
	}
	r.ready = f
	return r
}

// next reads the next frame.
func (r *stuckReader) next() (object, error) {
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var f object
			if json.Unmarshal([]byte(data), &f) == nil {
				return f, nil
			}
		}
	}
}

// lookSlow lets a stuck reader go on before the write timeout: it finds itself behind the log.
func (f *flood) lookSlow(r *stuckReader) {
	f.Must(r.conn.SetReadDeadline(time.Now().Add(f.patience)))
	had, missed, gaps := 0, -1, 0
	for {
		frame, err := r.next()
		f.Must(err)
		n := -1
		_, _ = fmt.Sscanf(str(frame, "payload"), "m%d", &n)
		switch {
		case str(frame, "type") == "gap":
			gaps++
			count, _ := frame["missed"].(float64)
			missed = int(count)
		case n >= 0 && gaps == 0:
			had = n + 1
		case n >= 0:
			f.Is("P-97", str(frame, "type") == "message" && n == had+missed, "a reader that took nothing for %.0f s: %d messages, gap missed %d, then m%d",
				time.Since(r.since).Seconds(), had, missed, n)
			_ = r.conn.Close()
			return
		}
		if had == f.published {
			f.Errorf("a reader that took nothing got all %d messages: sockets here hold more than the suite thought", had)
			return
		}
	}
}

// lookStuck waits until the gateway gives up a reader that takes nothing.
func (f *flood) lookStuck(r *stuckReader) {
	limit := f.Seconds("write-timeout")*3/2 + 5*time.Second
	gone := f.Eventually(limit, "the gateway gives up a reader that takes nothing", func() bool {
		return num(f.s.Get(), "attachments", "sse") == 0
	})
	took := time.Since(r.since)
	// What it can still read ends with a message and not with a clean end; the position is good for coming back.
	f.Must(r.conn.SetReadDeadline(time.Now().Add(f.patience)))
	last := str(r.ready, "id")
	for {
		frame, err := r.next()
		if err != nil {
			break
		}
		if id := str(frame, "id"); id != "" {
			last = id
		}
	}
	back := f.SSE(f.s.Path+"/sse", http.Header{"Last-Event-Id": {last}})
	ready := back.Ready()
	f.Is("P-154", gone && ready.object["resumed"] == true && ready.ID() == last, "given up after %.0f s; back at %s: %s", took.Seconds(), short(last), ready)
}
