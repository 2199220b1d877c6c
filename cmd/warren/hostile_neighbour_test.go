package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// publishEvery is the pace of the numbered messages that the neighbours read.
const publishEvery = 100 * time.Millisecond

// delays are the longest waits of well-behaved clients.
type delays struct{ message, answer time.Duration }

// neighbours are the well-behaved clients beside an attack: on each gateway an
// event stream and a WebSocket that read numbered messages, and a newcomer who
// asks for something, or opens a stream, every askEvery.
type neighbours struct {
	readers []*neighbour

	mu      sync.Mutex  // guards all below
	sent    []time.Time // when message i+1 was published
	slowest delays
	asked   map[string]time.Time // when the newest question was asked that was answered, by gateway
	failed  error
}

// askEvery is the pace of the newcomers, below what one caller may ask.
const askEvery = 50 * time.Millisecond

// neighbour is one reader.
type neighbour struct {
	name string
	r    *frameReader
	c    *tally
}

func newNeighbours(t *testing.T, w *hostileWorld, pub *rabbitPublisher) *neighbours {
	t.Helper()
	token := w.keys.mint(t, "neighbour", "good=#")
	n := &neighbours{asked: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	gateways := []struct{ name, url, query string }{{"anonymous", w.anonymous.URL, ""}, {"tokens", w.tokens.URL, "&access_token=" + token}}
	for _, g := range gateways {
		sse := openSSE(t, g.url+"/v1/sse?exchange=good"+g.query, nil)
		ws, _ := openWS(t, g.url+"/v1/ws?exchange=good"+g.query)
		n.readers = append(n.readers, &neighbour{g.name + " sse", sse, mustBeReady(t, sse)}, &neighbour{g.name + " ws", ws, mustBeReady(t, ws)})
		n.asked[g.name] = time.Time{}
	}
	// Nobody runs before everything that they share has been set.
	for _, g := range gateways {
		group.Go(func() { n.ask(ctx, g.name, g.url, token) })
	}
	for _, r := range n.readers {
		group.Go(func() { n.read(ctx, r) })
	}
	group.Go(func() { n.publish(ctx, pub) })
	t.Cleanup(func() {
		cancel()
		for _, r := range n.readers {
			r.r.close()
		}
		group.Wait()
	})
	return n
}

// publish publishes a number every publishEvery.
func (n *neighbours) publish(ctx context.Context, pub *rabbitPublisher) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		n.sent = append(n.sent, time.Now())
		n.mu.Unlock()
		err := pub.ch.PublishWithContext(ctx, "good", "n", false, false, amqp.Publishing{Body: strconv.AppendInt(nil, int64(i), 10)})
		if err != nil {
			n.fail(fmt.Errorf("publishing %d: %w", i, err))
			return
		}
	}
}

// read holds every frame against the promise and takes the time.
func (n *neighbours) read(ctx context.Context, r *neighbour) {
	for {
		frame, err := r.r.frames()
		if ctx.Err() != nil {
			return
		}
		before := r.c.messages
		if err == nil {
			err = r.c.take(frame)
		}
		switch {
		case err != nil:
			n.fail(fmt.Errorf("%s after %d messages: %w", r.name, r.c.messages, err))
			return
		case len(r.c.gaps) > 0:
			n.fail(fmt.Errorf("%s lost something: %s", r.name, r.c.gaps[0]))
			return
		case r.c.messages > before:
			n.arrived(r)
		}
	}
}

func (n *neighbours) arrived(r *neighbour) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slowest.message = max(n.slowest.message, time.Since(n.sent[r.c.last-1]))
}

func (n *neighbours) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed == nil {
		n.failed = err
	}
}

// ask is the newcomer of one gateway.
func (n *neighbours) ask(ctx context.Context, name, url, token string) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		begin := time.Now()
		path, until := "/v1/exchanges", "}"
		if i%2 == 1 {
			path, until = "/v1/sse?exchange=good", `"type":"ready"`
		}
		err := askNewly(ctx, url+path, token, until)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			n.fail(fmt.Errorf("a newcomer at the gateway %s asks for %s: %w", name, path, err))
			return
		}
		n.mu.Lock()
		n.asked[name] = begin
		n.slowest.answer = max(n.slowest.answer, time.Since(begin))
		n.mu.Unlock()
	}
}

// askNewly makes a request on a connection of its own and reads until the
// answer, which must be 200, has the text.
func askNewly(ctx context.Context, url, token, until string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var body []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(body, []byte(until)) {
		read, err := resp.Body.Read(buf)
		body = append(body, buf[:read]...)
		if err != nil && !bytes.Contains(body, []byte(until)) {
			return fmt.Errorf("%w after %d %s", err, resp.StatusCode, body)
		}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %d %s", resp.StatusCode, body)
	}
	return nil
}

// settle waits until every reader has what was published until now and every
// newcomer has got an answer to what it asked from now on, and returns the
// longest waits since the last beginAnew.
func (n *neighbours) settle(t *testing.T) delays {
	t.Helper()
	now := time.Now()
	n.mu.Lock()
	target := int64(len(n.sent))
	n.mu.Unlock()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		d, behind, err := n.behind(now, target)
		if err != nil {
			t.Fatal(err)
		}
		if behind == "" {
			return d
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s is not served within %v", behind, patience)
		}
	}
}

// behind names somebody who still waits; with nobody left it returns the longest waits.
func (n *neighbours) behind(since time.Time, target int64) (delays, string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.readers {
		if r.c.seen.Load() < target {
			return delays{}, r.name, n.failed
		}
	}
	for name, asked := range n.asked {
		if asked.Before(since) {
			return delays{}, "the newcomer at the gateway " + name, n.failed
		}
	}
	return n.slowest, "", n.failed
}

// beginAnew forgets how long anybody has waited.
func (n *neighbours) beginAnew() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slowest = delays{}
}

// settleAfter lets a while pass before it settles.
func (n *neighbours) settleAfter(t *testing.T, d time.Duration) delays {
	t.Helper()
	<-time.After(d)
	return n.settle(t)
}
