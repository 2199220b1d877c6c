package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/warren-gateway/warren/broker"
)

const listenHelp = `Usage: warren listen URL EXCHANGE[=KEY] … [FLAGS]

Listens to exchanges through a gateway and prints one frame per line, as JSON, on
standard output; what happens to the connection goes to standard error. Without
=KEY the routing key is #, with EXCHANGE= it is empty. The first line is the frame
"ready": what is published after it is printed. Pings are not printed.

  warren listen http://127.0.0.1:8080 builds
  warren listen http://127.0.0.1:8080 'builds=linux.#' deploys --count 10
  warren listen https://events.example.org orders --token "$TOKEN" | jq .payload

It reconnects by itself and goes on where it was: nothing is missing and nothing
comes twice, or a line of type "gap" says what is missing. It ends with status
0 after --count messages or when it is interrupted, 1 when the gateway refuses for
good, 2 when the command line is wrong.

`

// Bounds of the waits between attempts, where the gateway names none.
const (
	minRetry = 500 * time.Millisecond
	maxRetry = 30 * time.Second
)

// listenOptions are the command line of `warren listen`.
type listenOptions struct {
	base      *url.URL
	bindings  []listenBinding
	transport string
	after     string
	count     int
	token     string
	payload   string
	deadAfter time.Duration
}

// listenBinding is one EXCHANGE[=KEY], as the gateway reads it.
type listenBinding struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// listen prints frames until enough came, ctx is done or the gateway refuses for good.
func listen(ctx context.Context, p process) error {
	opts, err := listenArgs(p)
	if err != nil {
		return err
	}
	l := &listener{opts: opts, out: p.stdout, log: p.stderr, position: opts.after}
	return l.run(ctx)
}

func listenArgs(p process) (*listenOptions, error) {
	o := &listenOptions{}
	flags := pflag.NewFlagSet("listen", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(p.stderr)
	flags.StringVar(&o.transport, "transport", "ws", "ws (WebSocket) or sse (Server-Sent Events)")
	flags.StringVar(&o.after, "after", "", "event id to go on after")
	flags.IntVar(&o.count, "count", 0, "stop after this many messages; 0: never")
	flags.StringVar(&o.token, "token", lookupEnv(p.env, "WARREN_TOKEN"), "token, where the gateway wants one (WARREN_TOKEN)")
	flags.StringVar(&o.payload, "payload", "", "auto (JSON inlined) or raw")
	flags.DurationVar(&o.deadAfter, "dead-after", 45*time.Second, "reconnect when nothing came for this long, not even a ping")
	flags.Usage = func() { fmt.Fprint(p.stdout, listenHelp, flags.FlagUsages()) }
	if err := flags.Parse(p.args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, err
		}
		return nil, usageError("%w (see warren listen --help)", err)
	}
	if flags.NArg() < 2 {
		return nil, usageError("want a URL and at least one exchange (see warren listen --help)")
	}
	return o, o.take(flags.Args())
}

func (o *listenOptions) take(args []string) error {
	base, err := url.Parse(strings.TrimSuffix(args[0], "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		shown := args[0]
		if strings.Contains(shown, "@") { // behind a password
			shown = maskWebURL(shown)
		}
		return usageError("%q: want the gateway's URL, as http://127.0.0.1:8080", shown)
	}
	o.base = base
	for _, arg := range args[1:] {
		exchange, key, found := strings.Cut(arg, "=")
		if !found {
			key = "#"
		}
		o.bindings = append(o.bindings, listenBinding{exchange, key})
	}
	switch {
	case o.transport != "ws" && o.transport != "sse":
		return usageError("--transport %q: want ws or sse", o.transport)
	case o.count < 0:
		return usageError("--count %d: want 0 or more", o.count)
	case o.deadAfter <= 0:
		return usageError("--dead-after %v: want more than zero", o.deadAfter)
	}
	return nil
}

// listener is one run of `warren listen`, over all of its connections.
type listener struct {
	opts      *listenOptions
	out, log  io.Writer
	position  string // of the newest event that was printed
	messages  int
	attempts  int    // since the last ready
	elsewhere string // where a bye sent us, for the next attempt alone
	bye       *bye   // the last frame of the connection, if it was one
}

// bye is what a stream's last frame says.
type bye struct {
	Code      int    `json:"code"`
	Reason    string `json:"reason"`
	Reconnect bool   `json:"reconnect"`
	RetryMS   int    `json:"retry_ms"`
	URL       string `json:"url"`
}

// refusal is an answer that trying again does not change.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// postponement is an answer that may be another one later, after the time that it asked for if that is not 0.
type postponement struct {
	text  string
	after time.Duration
}

func (p *postponement) Error() string { return p.text }

// errEnough ends a stream after --count messages.
var errEnough = errors.New("enough messages")

func (l *listener) run(ctx context.Context) error {
	for {
		err := l.attempt(ctx)
		if errors.Is(err, errEnough) || ctx.Err() != nil {
			return nil //nolint:nilerr // enough, or interrupted: both are what was asked for
		}
		if final, ok := errors.AsType[*refusal](err); ok {
			return fmt.Errorf("refused: %w", final)
		}
		wait := l.pause(err)
		l.say("%v; again in %v", err, wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// attempt is one connection, from the request to its end.
func (l *listener) attempt(ctx context.Context) error {
	l.bye = nil
	l.attempts++
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A dead stream is noticed by the missing ping.
	watchdog := time.AfterFunc(l.opts.deadAfter, func() {
		cancel(fmt.Errorf("nothing came for %v", l.opts.deadAfter))
	})
	defer watchdog.Stop()
	stream := l.webSocket
	if l.opts.transport == "sse" {
		stream = l.eventSource
	}
	err := stream(ctx, func(frame []byte) error {
		watchdog.Reset(l.opts.deadAfter)
		return l.take(frame)
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return l.verdict(err)
}

// verdict turns the end of a connection into an error that says whether to go on.
func (l *listener) verdict(err error) error {
	if errors.Is(err, errEnough) {
		return err
	}
	if b := l.bye; b != nil {
		text := fmt.Sprintf("the gateway said %s (%d)", b.Reason, b.Code)
		if !b.Reconnect && !l.lost(b) {
			if l.opts.transport == "ws" { // a close code has no room for the details that HTTP gives
				text += refusalHint(b.Reason)
			}
			return &refusal{text}
		}
		return errors.New(text)
	}
	if err == nil {
		err = errors.New("the stream ended")
	}
	if request, ok := errors.AsType[*url.Error](err); ok { // it repeats the whole URL
		return fmt.Errorf("cannot reach %s: %w", l.opts.base.Redacted(), request.Err)
	}
	return err
}

// refusalHint says what to do about the reason of a bye.
func refusalHint(reason string) string {
	switch broker.Code(reason) { //nolint:exhaustive // there is nothing to be done here about the others
	case broker.CodeExchangeNotFound:
		return ": one of these exchanges does not exist; check the names"
	case broker.CodeUnauthorized:
		return ": it wants a token that is valid: --token, or WARREN_TOKEN in the environment"
	case broker.CodeForbiddenBinding:
		return ": one of these bindings is not allowed by the token, the gateway or the broker"
	}
	return ""
}

// lost says that the subscription is gone, and that asking for the same
// bindings makes a new one and tells of the loss.
func (l *listener) lost(b *bye) bool {
	return b.Reason == "subscription_deleted" || b.Reason == "subscription_expired"
}

// take prints a frame and remembers what it means for the next connection.
func (l *listener) take(frame []byte) error {
	var f struct {
		Type string `json:"type"`
		ID   string `json:"id"`
		bye
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		return fmt.Errorf("a frame that is not JSON: %w", err)
	}
	switch f.Type {
	case "ping", "pong":
		return nil
	case "bye":
		l.bye, l.elsewhere = &f.bye, f.URL
	case "ready":
		l.attempts = 0
		l.say("listening to %s", l.opts.base.Redacted())
	}
	if _, err := l.out.Write(append(frame, '\n')); err != nil {
		return &refusal{fmt.Sprintf("writing to standard output: %v", err)}
	}
	if f.ID != "" {
		l.position = f.ID
	}
	if f.Type == "message" {
		if l.messages++; l.messages == l.opts.count {
			return errEnough
		}
	}
	return nil
}

// pause is how long to wait before the next attempt: what the gateway asked
// for, else a random part of a bound that doubles, so that clients that were cut
// together do not come back together.
func (l *listener) pause(err error) time.Duration {
	var asked time.Duration
	if p, ok := errors.AsType[*postponement](err); ok {
		asked = p.after
	} else if l.bye != nil {
		asked = time.Duration(l.bye.RetryMS) * time.Millisecond
	}
	if asked > 0 {
		return asked + rand.N(asked/4+1) //nolint:gosec // jitter
	}
	bound := minRetry << min(l.attempts, 10)
	return minRetry/2 + rand.N(min(bound, maxRetry)) //nolint:gosec // jitter
}

func (l *listener) say(format string, args ...any) {
	fmt.Fprintf(l.log, "warren: "+format+"\n", args...)
}

// target returns the URL of the stream, /v1/ws or /v1/sse, with bindings and position.
func (l *listener) target(path string) string {
	base := *l.opts.base
	if l.elsewhere != "" {
		if u, err := l.opts.base.Parse(l.elsewhere); err == nil {
			base.Scheme, base.Host = u.Scheme, u.Host
		}
		l.elsewhere = ""
	}
	query := bindingsQuery(l.opts.bindings)
	if l.opts.payload != "" {
		query.Set("payload", l.opts.payload)
	}
	if l.position != "" {
		query.Set("after", l.position)
	}
	base.Path += path
	base.RawQuery = query.Encode()
	return base.String()
}

// bindingsQuery writes them as anybody would, save where a key is empty: the
// gateway takes that for a # which was not escaped, except in JSON.
func bindingsQuery(bindings []listenBinding) url.Values {
	query := url.Values{}
	for _, b := range bindings {
		if b.RoutingKey == "" {
			list, _ := json.Marshal(bindings) // strings always marshal
			return url.Values{"bindings": {string(list)}}
		}
		query.Add("exchange", b.Exchange)
		query.Add("routing_key", b.RoutingKey)
	}
	return query
}

func (l *listener) header() http.Header {
	h := http.Header{"User-Agent": {"warren-listen/" + thisBuild().version}}
	if l.opts.token != "" {
		h.Set("Authorization", "Bearer "+l.opts.token)
	}
	return h
}
