package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/faults/world"
)

// RecoveryOptions say how to measure a recovery.
type RecoveryOptions struct {
	Binary string
	// Node is restarted.
	Node *rabbittest.Node
	// Subscriptions is how many there are; one in forty has a reader.
	Subscriptions int
	Out           io.Writer
}

const (
	// recoveryDown is how long the broker is away.
	recoveryDown = 8 * time.Second
	// recoveryFactor is how many times as long as a bare client the gateway may take.
	recoveryFactor = 2
	// recoveryAttempts is how many connections a second it may try meanwhile.
	recoveryAttempts = 4
	recoveryWorkers  = 16
	recoveryAttached = 40
)

// Recovery restarts a broker under many subscriptions, and compares how long they take to be back with how long a bare client takes for
// as many queues, bindings and consumers. It reports whether the gateway is fast enough, those that are read come first, and the broker
// is left in peace while it is away.
func Recovery(ctx context.Context, opts RecoveryOptions) (ok bool, err error) {
	r := &recovery{opts: opts, exchange: "recovery"}
	defer r.clear()
	if err := r.build(ctx); err != nil {
		return false, err
	}
	if err := r.restart(ctx); err != nil {
		return false, err
	}
	bare, err := r.bare(ctx)
	if err != nil {
		return false, err
	}
	return r.report(bare), nil
}

// recovery is one measurement.
type recovery struct {
	opts     RecoveryOptions
	exchange string
	gateway  *world.Gateway
	link     *world.Link
	undo     []func()
	readers  []*recoveryReader

	attempts       int64         // while the broker was away
	attached, last time.Duration // until the last that is read was back, and the last of all
}

func (r *recovery) clear() {
	for _, f := range slices.Backward(r.undo) {
		f()
	}
}

func (r *recovery) build(ctx context.Context) error {
	conn, err := amqp.Dial(r.opts.Node.URL())
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // what was declared is declared
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(r.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return err
	}
	if r.link, err = world.NewLink(r.opts.Node.Addr(), 1); err != nil {
		return err
	}
	r.undo = append(r.undo, r.link.Close)
	n := strconv.Itoa(r.opts.Subscriptions + 100)
	r.gateway, err = world.NewGateway(r.opts.Binary, "--broker", world.Through(r.opts.Node.URL(), r.link),
		"--create-rate", "10000", "--create-rate-per-caller", "10000", "--create-burst-per-caller", "10000",
		"--request-rate-per-caller", "10000", "--request-burst-per-caller", "10000", "--max-subscriptions-per-caller", n, "--max-subscriptions", n)
	if err != nil {
		return err
	}
	r.undo = append(r.undo, r.gateway.Kill)
	if err := r.gateway.Start(ctx); err != nil {
		return err
	}
	return r.subscribe(ctx)
}

// subscribe makes the subscriptions, and attaches to some of them.
func (r *recovery) subscribe(ctx context.Context) error {
	var mu sync.Mutex // guards errs and r.readers
	var errs []error
	var workers sync.WaitGroup
	for w := range recoveryWorkers {
		workers.Go(func() {
			for i := w; i < r.opts.Subscriptions; i += recoveryWorkers {
				reader, err := r.one(ctx, i)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				}
				if reader != nil {
					r.readers = append(r.readers, reader)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	for _, reader := range r.readers {
		r.undo = append(r.undo, reader.close)
	}
	return errors.Join(errs...)
}

// one makes a subscription, and a reader of it if it is its turn.
func (r *recovery) one(ctx context.Context, i int) (*recoveryReader, error) {
	body := fmt.Sprintf(`{"bindings":[{"exchange":%q,"routing_key":"k%d"}],"linger_seconds":600}`, r.exchange, i)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.gateway.URL()+"/v1/subscriptions", bytes.NewBufferString(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("creating subscription %d: %s: %w", i, resp.Status, err)
	}
	if i%recoveryAttached != 0 {
		return nil, nil //nolint:nilnil // no reader, and no error
	}
	return newRecoveryReader(ctx, r.gateway.URL()+"/v1/subscriptions/"+made.ID+"/sse")
}

// recoveryReader waits for the gap that tells of a recovery.
type recoveryReader struct {
	stop context.CancelFunc
	done chan struct{}
	back time.Time // when the gap came; read after done
}

func newRecoveryReader(ctx context.Context, url string) (*recoveryReader, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) //nolint:bodyclose // the reader's goroutine closes it
	if err != nil {
		cancel()
		return nil, err
	}
	reader := &recoveryReader{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(reader.done)
		defer resp.Body.Close()
		buf := make([]byte, 4096)
		for {
			n, err := resp.Body.Read(buf)
			if bytes.Contains(buf[:n], []byte(`broker_reconnected`)) {
				reader.back = time.Now()
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return reader, nil
}

func (r *recoveryReader) close() {
	r.stop()
	<-r.done
}

// restart takes the broker away for a while, and measures until all subscriptions are back.
func (r *recovery) restart(ctx context.Context) error {
	if err := r.opts.Node.Stop(); err != nil {
		return err
	}
	before := r.link.Accepted()
	world.Wait(ctx, recoveryDown)
	r.attempts = r.link.Accepted() - before
	if err := r.opts.Node.Restart(ctx); err != nil {
		return err
	}
	begin := time.Now()
	wait, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	if err := world.Poll(wait, pollInterval, func() bool { return r.recovered(ctx) }); err != nil {
		return fmt.Errorf("the subscriptions are not back after %v: %w", settlePatience, err)
	}
	r.last = time.Since(begin)
	for _, reader := range r.readers {
		select {
		case <-reader.done:
			r.attached = max(r.attached, reader.back.Sub(begin))
		case <-wait.Done():
			return errors.New("a reader was not told of the recovery")
		}
	}
	r.gateway.Kill()
	return nil
}

// recovered reports whether every subscription is active.
func (r *recovery) recovered(ctx context.Context) bool {
	return int(r.gateway.Metric(ctx, `warren_subscriptions{kind="owned",state="active"}`)) == r.opts.Subscriptions
}

// bare makes as many queues, bindings and consumers in the plain way: a connection for each thousand, a channel for each of those, one
// queue after the other.
func (r *recovery) bare(ctx context.Context) (time.Duration, error) {
	if err := r.opts.Node.Restart(ctx); err != nil {
		return 0, err
	}
	begin := time.Now()
	const each = 1000
	var loops sync.WaitGroup
	errs := make([]error, (r.opts.Subscriptions+each-1)/each)
	conns := make([]*amqp.Connection, len(errs))
	for k := range errs {
		loops.Go(func() { conns[k], errs[k] = r.loop(k*each, min((k+1)*each, r.opts.Subscriptions)) })
	}
	loops.Wait()
	for _, conn := range conns {
		if conn != nil { // closing deletes the queues, which takes its time
			r.undo = append(r.undo, func() { _ = conn.Close() })
		}
	}
	return time.Since(begin), errors.Join(errs...)
}

func (r *recovery) loop(first, end int) (*amqp.Connection, error) {
	conn, err := amqp.Dial(r.opts.Node.URL())
	if err != nil {
		return nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return conn, err
	}
	for i := first; i < end; i++ {
		name := "bare." + strconv.Itoa(i)
		if _, err := ch.QueueDeclare(name, false, false, true, false, nil); err != nil {
			return conn, err
		}
		if err := ch.QueueBind(name, "k"+strconv.Itoa(i), r.exchange, false, nil); err != nil {
			return conn, err
		}
		if _, err := ch.Consume(name, "", false, true, false, false, nil); err != nil {
			return conn, err
		}
	}
	return conn, nil
}

// report prints the figures.
func (r *recovery) report(bare time.Duration) bool {
	out := r.opts.Out
	rate := float64(r.attempts) / recoveryDown.Seconds()
	fmt.Fprintf(out, "recovery of %d subscriptions, %d of them read\n", r.opts.Subscriptions, len(r.readers))
	fmt.Fprintf(out, "  all back after          %v (%.2f times as long as a bare client)\n", r.last.Round(time.Millisecond), r.last.Seconds()/bare.Seconds())
	fmt.Fprintf(out, "  those that are read     %v\n", r.attached.Round(time.Millisecond))
	fmt.Fprintf(out, "  bare amqp091-go         %v\n", bare.Round(time.Millisecond))
	fmt.Fprintf(out, "  attempts meanwhile      %.1f connections per second\n", rate)
	ok := true
	for _, demand := range []struct {
		kept bool
		what string
	}{
		{r.last <= recoveryFactor*bare, fmt.Sprintf("it takes more than %d times as long", recoveryFactor)},
		{r.attached <= r.last*3/4, "those that are read do not come first"},
		{rate <= recoveryAttempts, fmt.Sprintf("it tries more than %d connections per second", recoveryAttempts)},
	} {
		if !demand.kept {
			ok = false
			fmt.Fprintf(out, "  REJECTED                %s\n", demand.what)
		}
	}
	if ok {
		fmt.Fprintln(out, "  accepted")
	}
	return ok
}
