package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/warren-gateway/warren/cmd/faults/oracle"
)

// Kind names a kind of client.
type Kind string

// The kinds. "Query" asks for its bindings in the URL and shares a subscription, "ID" makes a subscription of its own.
const (
	SSEQuery    Kind = "sse-query"
	SSEID       Kind = "sse-id"
	WSQuery     Kind = "ws-query"
	WSID        Kind = "ws-id"
	SwitchQuery Kind = "switch-query" // SSE and WebSocket by turns
	SwitchID    Kind = "switch-id"
	ListenWS    Kind = "listen-ws" // `warren listen`
	ListenSSE   Kind = "listen-sse"
	JS          Kind = "warren.js"   // web/client in Node, SSE and WebSocket by turns
	EventSource Kind = "EventSource" // Chromium's
)

// Options say what a client does.
type Options struct {
	Kind Kind
	Name string
	// URL is the gateway's, without a path.
	URL string
	// Sources are what it listens to; RoutingKey is the pattern, "#" by default.
	Sources    []*oracle.Source
	RoutingKey string
	// Extra may be bound later, by somebody else.
	Extra []*oracle.Source
	// Clock is the time since an instant that all share.
	Clock func() time.Duration
	// Binary is the gateway's, for `warren listen`; Web is the directory web of the source, for JavaScript.
	Binary, Web string
	// DeadAfter is how long nothing may come before it connects anew; default 25 s, a heartbeat and a bit.
	DeadAfter time.Duration
	// ReadBuffer is the size of the socket's buffer; default the system's. Small ones make a stalled reader felt early.
	ReadBuffer int
}

// Client is one that listens, from Start to Stop.
type Client struct {
	opts   Options
	record *oracle.Record
	stop   context.CancelFunc
	done   chan struct{}
	gate   sync.Mutex // held while the client does not read

	mu           sync.Mutex // guards subscription
	subscription string     // of the ID kinds

	// What follows belongs to the goroutine that runs the client.
	position string
	turn     int
	bye      *oracle.Bye
}

// Start starts a client.
func Start(ctx context.Context, opts Options) *Client {
	if opts.RoutingKey == "" {
		opts.RoutingKey = "#"
	}
	if opts.DeadAfter == 0 {
		opts.DeadAfter = 25 * time.Second
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{opts: opts, record: oracle.NewRecord(opts.Name, slices.Concat(opts.Sources, opts.Extra)...), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		switch opts.Kind {
		case ListenWS, ListenSSE, JS, EventSource:
			c.outside(ctx)
		default:
			c.run(ctx)
		}
	}()
	return c
}

// Record returns what it got.
func (c *Client) Record() *oracle.Record { return c.record }

// Kind returns its kind.
func (c *Client) Kind() Kind { return c.opts.Kind }

// Sources returns what it listens to from the beginning.
func (c *Client) Sources() []*oracle.Source { return c.opts.Sources }

// Subscription returns the id of the subscription that it has made, "" if it has none.
func (c *Client) Subscription() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscription
}

func (c *Client) setSubscription(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscription = id
}

// Stop ends it and waits for that. A stalled one must be released before.
func (c *Client) Stop() {
	c.stop()
	<-c.done
}

// Stall lets it read nothing until Release. What the sockets hold is still under way.
func (c *Client) Stall() { c.gate.Lock() }

// Release ends Stall.
func (c *Client) Release() { c.gate.Unlock() }

// pass waits while the client is stalled.
func (c *Client) pass() {
	c.gate.Lock()
	c.gate.Unlock() //nolint:staticcheck // waiting is all
}

// errGone says that the client's subscription is gone for good.
var errGone = errors.New("the subscription is gone")

func (c *Client) run(ctx context.Context) {
	for ctx.Err() == nil {
		c.bye = nil
		err := c.connect(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errGone) || c.bye != nil && (c.bye.Code == 4404 || c.bye.Code == 4410) && c.byID() {
			c.record.Fresh(c.opts.Clock())
			c.position = ""
			c.setSubscription("")
		}
		c.pause(ctx)
	}
	c.forget(context.WithoutCancel(ctx))
}

// pause waits as a polite client does before it comes back, but not for long: a test has to end.
func (c *Client) pause(ctx context.Context) {
	wait := 50*time.Millisecond + rand.N(250*time.Millisecond) //nolint:gosec // jitter
	if c.bye != nil && c.bye.RetryMS > 0 {
		wait = min(time.Duration(c.bye.RetryMS)*time.Millisecond, 5*time.Second)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *Client) byID() bool {
	return c.opts.Kind == SSEID || c.opts.Kind == WSID || c.opts.Kind == SwitchID
}

// connect is one connection, from the request to its end.
func (c *Client) connect(ctx context.Context) error {
	if c.byID() && c.subscription == "" {
		if err := c.create(ctx); err != nil {
			return err
		}
	}
	c.turn++
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(c.opts.DeadAfter, cancel)
	defer watchdog.Stop()
	take := func(data []byte) {
		watchdog.Stop()
		c.take(data)
		c.pass()
		watchdog.Reset(c.opts.DeadAfter)
	}
	ws := c.opts.Kind == WSQuery || c.opts.Kind == WSID
	if c.opts.Kind == SwitchQuery || c.opts.Kind == SwitchID {
		ws = c.turn%2 == 0
	}
	if ws {
		return c.webSocket(ctx, take)
	}
	return c.eventSource(ctx, take)
}

// take adds a frame to the record.
func (c *Client) take(data []byte) {
	f := c.record.Take(c.opts.Clock(), data)
	if f.ID != "" {
		c.position = f.ID
	}
	if f.Type == "bye" {
		c.bye = &f.Bye
	}
}

// target returns the URL of the stream.
func (c *Client) target(transport string) string {
	if c.byID() {
		return c.opts.URL + "/v1/subscriptions/" + c.subscription + "/" + transport
	}
	query := url.Values{}
	for _, s := range c.opts.Sources {
		query.Add("exchange", s.Exchange())
		query.Add("routing_key", c.opts.RoutingKey)
	}
	return c.opts.URL + "/v1/" + transport + "?" + query.Encode()
}

// binding is one in a request.
type binding struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// create makes the subscription.
func (c *Client) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ask := struct {
		Bindings []binding `json:"bindings"`
		Linger   int       `json:"linger_seconds"`
	}{Linger: 120}
	for _, s := range c.opts.Sources {
		ask.Bindings = append(ask.Bindings, binding{s.Exchange(), c.opts.RoutingKey})
	}
	var answer struct {
		ID string `json:"id"`
	}
	if err := c.request(ctx, http.MethodPost, "/v1/subscriptions", ask, &answer); err != nil {
		return err
	}
	c.setSubscription(answer.ID)
	return nil
}

// forget deletes the subscription, if the gateway is there.
func (c *Client) forget(ctx context.Context) {
	if c.subscription == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = c.request(ctx, http.MethodDelete, "/v1/subscriptions/"+c.subscription, nil, nil) // it goes by itself, too
}

// SetBindings has the gateway replace the bindings of the client's subscription, and answers what it says against that.
func (c *Client) SetBindings(ctx context.Context, sources ...*oracle.Source) error {
	ask := struct {
		Bindings []binding `json:"bindings"`
	}{[]binding{}}
	for _, s := range sources {
		ask.Bindings = append(ask.Bindings, binding{s.Exchange(), c.opts.RoutingKey})
	}
	return c.request(ctx, http.MethodPut, "/v1/subscriptions/"+c.Subscription()+"/bindings", ask, nil)
}

// SetPaused has the gateway pause the client's subscription, or resume it.
func (c *Client) SetPaused(ctx context.Context, paused bool) error {
	what := "/resume"
	if paused {
		what = "/pause"
	}
	return c.request(ctx, http.MethodPost, "/v1/subscriptions/"+c.Subscription()+what, nil, nil)
}

// request makes a JSON request.
func (c *Client) request(ctx context.Context, method, path string, ask, answer any) error {
	var body io.Reader
	if ask != nil {
		text, err := json.Marshal(ask)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.opts.URL+path, body)
	if err != nil {
		return err
	}
	if ask != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	transport := c.transport()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s answers %d %.300s", method, path, resp.StatusCode, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// transport makes connections of the client's own, one for each request.
func (c *Client) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{
		DisableKeepAlives: true,
		// The gateway makes its certificate for the run. EventSources go over HTTP/2 then, WebSockets cannot.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // what is tested is not who it is
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil || c.opts.ReadBuffer == 0 {
				return conn, err
			}
			if err := conn.(*net.TCPConn).SetReadBuffer(c.opts.ReadBuffer); err != nil { //nolint:forcetypeassert // it dials tcp only
				return nil, errors.Join(err, conn.Close())
			}
			return conn, nil
		},
	}
}
