package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// The firehose: how long, unless the environment names another time (as
// WARREN_TEST_FIREHOSE=1m), and how fast, unless the machine is slower.
const (
	firehoseEnv  = "WARREN_TEST_FIREHOSE"
	firehoseTime = 3 * time.Second
	firehoseRate = 20_000 // messages per second
	// firehoseLeast are as many messages as it takes to be more than the log and
	// all sockets hold, if that takes longer.
	firehoseLeast = 8_000
)

// Bounds of the firehose at default settings. One subscription's log is 8 MiB,
// of a budget of 256 MiB.
const (
	firehoseMemory = 192 << 20
	// firehoseAhead keeps what is published within what the log of the good
	// readers holds, since they share two cores with everything else.
	firehoseAhead = 2000
	// firehoseQueue is what the broker's queue may hold on average: a tenth of
	// what it may hold at all.
	firehoseQueue = 1000
)

func TestFirehoseHurtsNoneButThoseThatDoNotRead(t *testing.T) {
	duration := firehoseTime
	if text := os.Getenv(firehoseEnv); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	url := rabbittest.VHost(t)
	pub := newRabbitPublisher(t, url)
	pub.declare("fire")
	g := warrentest.Start(t, "--broker", url)
	f := &firehose{t: t, gateway: g, pub: pub, vhost: url[strings.LastIndexByte(url, '/')+1:]}

	stalled := f.stall()
	paused := f.pause()
	f.readWell(50)
	watch := f.watch()
	took := f.publish(duration)
	for _, r := range f.good {
		if err := <-r.done; err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
	watch()
	total := int(f.last.Load())
	t.Logf("%d messages in %v, %.0f per second to 50 readers; memory at most %d MiB, the queue %d messages on average, %d at most",
		total, took.Round(time.Millisecond), float64(total)/took.Seconds(), f.memory>>20, f.queueMean(), slices.Max(f.queue))
	if f.memory > firehoseMemory {
		t.Errorf("%d MiB of memory, at most %d MiB may be", f.memory>>20, firehoseMemory>>20)
	}
	if mean := f.queueMean(); mean > firehoseQueue {
		t.Errorf("the broker's queue holds %d messages on average", mean)
	}
	stalled(total)
	paused(total)
}

// firehose is one run.
type firehose struct {
	t       *testing.T
	gateway *warrentest.Gateway
	pub     *rabbitPublisher
	vhost   string
	good    []*goodReader
	last    atomic.Int64 // the number that was published last

	// The watch's, to be read when it has ended.
	memory int64
	queue  []int
}

// goodReader keeps up.
type goodReader struct {
	name string
	c    *tally
	done chan error
}

// readWell opens readers of both kinds.
func (f *firehose) readWell(n int) {
	f.t.Helper()
	for i := range n {
		r := &goodReader{name: fmt.Sprint("sse ", i), done: make(chan error, 1)}
		var frames *frameReader
		if i%2 == 0 {
			frames = openCrowdSSE(f.t, i, f.gateway.URL+"/v1/sse?exchange=fire")
		} else {
			r.name = fmt.Sprint("ws ", i)
			frames, _ = openWS(f.t, f.gateway.URL+"/v1/ws?exchange=fire")
		}
		r.c = mustBeReady(f.t, frames)
		f.good = append(f.good, r)
		go func() { r.done <- f.readAll(r, frames) }() // ends with the last message, or the stream
	}
}

// readAll reads until the message of the number 0, which ends the firehose.
func (f *firehose) readAll(r *goodReader, frames *frameReader) error {
	for {
		frame, err := frames.frames()
		if err != nil {
			return err
		}
		if bytes.Contains(frame[len(frame)-min(len(frame), 60):], []byte(`"payload":"end"`)) {
			if last := int(f.last.Load()); r.c.last != last || r.c.first != 1 || len(r.c.gaps) > 0 {
				return fmt.Errorf("got %d to %d of %d, gaps %v", r.c.first, r.c.last, last, r.c.gaps)
			}
			return nil
		}
		if err := r.c.take(frame); err != nil {
			return err
		}
	}
}

// publish publishes numbers for the time, as fast as they are taken, and the
// end. It returns how long it took.
func (f *firehose) publish(d time.Duration) time.Duration {
	f.t.Helper()
	begin := time.Now()
	const burst = firehoseRate / 100
	pad := amqp.Table{"pad": strings.Repeat("x", 2048)}
	tick := time.NewTicker(time.Second / 100)
	defer tick.Stop()
	n := 0
	for time.Since(begin) < d || n < firehoseLeast {
		<-tick.C
		if int64(n)-f.slowest() > firehoseAhead {
			continue
		}
		for range burst {
			n++
			err := f.pub.ch.PublishWithContext(f.t.Context(), "fire", "n", false, false, amqp.Publishing{Headers: pad, Body: strconv.AppendInt(nil, int64(n), 10)})
			if err != nil {
				f.t.Fatal(err)
			}
		}
		f.last.Store(int64(n))
	}
	confirm, err := f.pub.ch.PublishWithDeferredConfirmWithContext(f.t.Context(), "fire", "n", false, false, amqp.Publishing{Body: []byte(`"end"`)})
	if err != nil || !confirm.Wait() {
		f.t.Fatalf("the end is not taken: %v", err)
	}
	return time.Since(begin)
}

// slowest is how far the slowest of the good readers has got; one that has failed holds up nobody.
func (f *firehose) slowest() int64 {
	least := f.last.Load()
	for _, r := range f.good {
		if len(r.done) == 0 {
			least = min(least, r.c.seen.Load())
		}
	}
	return least
}

// watch measures until the function that it returns is called.
func (f *firehose) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	expr := fmt.Sprintf(`lists:sum([N || [{name, {resource, _, queue, <<"warren.", _/binary>> = Q}}, {messages, N}] <- rabbit_amqqueue:info_all(<<"%s">>, [name, messages]), binary:match(Q, [<<".dead.">>, <<".canary.">>, <<".events.">>]) =:= nomatch])`, f.vhost)
	group.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if rss, err := f.gateway.RSS(); err == nil {
				f.memory = max(f.memory, rss)
			}
			out, _ := rabbittest.TryEval(f.t, expr) // a broker that is that busy may not answer
			if n, err := strconv.Atoi(out); err == nil {
				f.queue = append(f.queue, n)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	end := func() {
		cancel()
		group.Wait()
	}
	f.t.Cleanup(end)
	return func() {
		end()
		if len(f.queue) == 0 {
			f.t.Fatal("the broker's queue could not be measured")
		}
	}
}

func (f *firehose) queueMean() int {
	sum := 0
	for _, n := range f.queue {
		sum += n
	}
	return sum / len(f.queue)
}

// exact follows a reader that misses messages: each number is the next one, or
// behind a gap that says how many are missing.
type exact struct {
	next   int
	gaps   int
	missed int
	lastID string
}

// errEnd is the end of the firehose.
var errEnd = errors.New("the end")

func (e *exact) take(frame []byte) error {
	var f struct {
		Type, Reason, ID string
		Missed           *int
		Payload          json.RawMessage
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		return err
	}
	if f.ID != "" {
		e.lastID = f.ID
	}
	switch f.Type {
	case "gap":
		if f.Missed == nil || f.Reason != "evicted" {
			return fmt.Errorf("the gap is %s", frame)
		}
		e.gaps++
		e.missed += *f.Missed
		e.next += *f.Missed
	case "message":
		if string(f.Payload) == `"end"` {
			return errEnd
		}
		if string(f.Payload) != strconv.Itoa(e.next) {
			return fmt.Errorf("%s came, and %d is next", f.Payload, e.next)
		}
		e.next++
	}
	return nil
}

// verdict compares with what was published.
func (e *exact) verdict(t *testing.T, name string, total int) {
	t.Helper()
	if e.next != total+1 || e.gaps == 0 {
		t.Errorf("%s: the next would be %d of %d, %d gaps", name, e.next, total, e.gaps)
	}
	t.Logf("%s: %d messages are missing, in %d gaps, to the message", name, e.missed, e.gaps)
}

// stall opens an event stream that nobody reads, until the function that it
// returns is called. If it has been ended meanwhile, it comes back to its place.
func (f *firehose) stall() func(total int) {
	f.t.Helper()
	r := openSSE(f.t, f.gateway.URL+"/v1/sse?exchange=fire", nil)
	e := &exact{next: 1}
	if frame, err := r.frames(); err != nil || e.take(frame) != nil {
		f.t.Fatal(err)
	}
	return func(total int) {
		f.t.Helper()
		for {
			frame, err := r.frames()
			if err != nil {
				f.t.Logf("the stalled reader comes back: %v", err)
				r = openSSE(f.t, f.gateway.URL+"/v1/sse?exchange=fire", http.Header{"Last-Event-Id": {e.lastID}})
				continue
			}
			if err := e.take(frame); errors.Is(err, errEnd) {
				break
			} else if err != nil {
				f.t.Fatal(err)
			}
		}
		e.verdict(f.t, "the stalled reader", total)
	}
}

// pause opens a WebSocket that pauses, and resumes when the function that it
// returns is called.
func (f *firehose) pause() func(total int) {
	f.t.Helper()
	r, conn := openWS(f.t, f.gateway.URL+"/v1/ws?exchange=fire")
	e := &exact{next: 1}
	failed := make(chan error, 1)
	go func() { // reads pings all the time, as a paused page does
		for {
			frame, err := r.frames()
			if err == nil {
				err = e.take(frame)
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	say := func(text string) {
		if err := conn.Write(bounded(f.t, patience), websocket.MessageText, []byte(text)); err != nil {
			f.t.Fatal(err)
		}
	}
	say(`{"type":"pause"}`)
	return func(total int) {
		f.t.Helper()
		say(`{"type":"resume"}`)
		if err := <-failed; !errors.Is(err, errEnd) {
			f.t.Fatal(err)
		}
		e.verdict(f.t, "the paused reader", total)
	}
}
