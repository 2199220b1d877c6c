package api

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// maxLast bounds last=N: more than any log holds.
const maxLast = 1_000_000

// The parameters of the attach endpoints. Others are refused: a misspelt
// routing_key must not turn into "#", all messages of an exchange.
var (
	placeParameters = []string{"access_token", "after", "from", "last"}
	wantParameters  = append([]string{"exchange", "routing_key", "bindings", "payload", "share", "linger_seconds"}, placeParameters...)
)

// query is the parameters of one request.
type query struct{ values url.Values }

func parseQuery(r *http.Request, known []string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, invalid("", "the query is not well formed; check its percent-encoding").WithCause(err)
	}
	for name, given := range values {
		if !slices.Contains(known, name) {
			return query{}, invalid(printable(name), "there is no such query parameter here")
		}
		if len(given) > 1 && name != "exchange" && name != "routing_key" {
			return query{}, invalid(name, "the parameter is given more than once")
		}
	}
	return query{values}, nil
}

func (q query) has(name string) bool   { return q.values.Has(name) }
func (q query) get(name string) string { return q.values.Get(name) }

// integer takes a decimal parameter between two bounds.
func (q query) integer(name string, low, high int) (int, error) {
	n, err := strconv.Atoi(q.get(name))
	if err != nil || n < low || n > high || q.get(name)[0] == '+' {
		return 0, invalid(name, "this must be an integer from "+strconv.Itoa(low)+" to "+strconv.Itoa(high))
	}
	return n, nil
}

// place is where a stream shall start.
type place struct {
	// given tells that there is a position, which may be malformed.
	given    bool
	position broker.Position
	from     broker.From
	last     int
}

// start is the place for the core, which is told elsewhere whether the position
// is of a log that is gone.
func (p place) start() broker.Start {
	return broker.Start{
		After: p.position, Malformed: p.given && p.position.IsZero(), From: p.from, Last: p.last,
	}
}

// place reads where to start: the header that browsers send when they reconnect
// by themselves, else after, else from or last.
func (q query) place(r *http.Request) (place, error) {
	var p place
	var err error
	if q.has("after") {
		p.given = true
		if p.position, err = broker.ParsePosition(q.get("after")); err != nil {
			return place{}, broker.Errorf(broker.CodeInvalidPosition, "this is no event id").WithField("after")
		}
	}
	// A browser sends back what it was sent, but a proxy or a page may have
	// mangled it: never an error, or the EventSource would give up for good.
	if header := r.Header.Get("Last-Event-ID"); header != "" {
		p.given = true
		p.position, _ = broker.ParsePosition(header)
	}
	if q.has("last") {
		if q.has("from") {
			return place{}, invalid("last", "from and last exclude each other")
		}
		p.from = broker.FromLast
		p.last, err = q.integer("last", 0, maxLast)
		return p, err
	}
	p.from, err = q.from()
	return p, err
}

func (q query) from() (broker.From, error) {
	if !q.has("from") {
		return broker.FromDefault, nil
	}
	switch q.get("from") {
	case "earliest":
		return broker.FromEarliest, nil
	case "latest":
		return broker.FromLatest, nil
	case "unread":
		return broker.FromUnread, nil
	}
	return broker.FromDefault, invalid("from", "this is one of earliest, latest and unread")
}

// want is what a stream that names its bindings itself asks for.
type want struct {
	bindings bindingList
	payload  broker.PayloadMode
	shared   bool
	linger   time.Duration
	place    place
}

// parseWant reads the query of /v1/sse and /v1/ws. A WebSocket without bindings
// gets a subscription of its own, to bind later.
func (a *API) parseWant(r *http.Request, kind endpoint) (want, error) {
	q, err := parseQuery(r, wantParameters)
	if err != nil {
		return want{}, err
	}
	out := want{payload: broker.PayloadAuto, linger: a.opts.StreamLinger}
	if out.bindings, err = q.bindings(a.opts.Broker.Limits().MaxBindings); err != nil {
		return want{}, err
	}
	switch none := !q.has("exchange") && !q.has("bindings"); {
	case none && kind != endpointWS:
		return want{}, invalid("exchange", "name at least one exchange")
	case !none && len(out.bindings.list) == 0:
		return want{}, invalid("bindings", "name at least one binding")
	}
	if out.shared, err = q.share(); err != nil {
		return want{}, err
	}
	if q.has("payload") {
		var known bool
		if out.payload, known = broker.ParsePayloadMode(q.get("payload")); !known || q.get("payload") == "" {
			return want{}, invalid("payload", "this is one of auto and raw")
		}
	}
	if q.has("linger_seconds") {
		if out.shared {
			return want{}, invalid("linger_seconds", "a shared subscription has the gateway's own linger; ask for share=false")
		}
		seconds, err := q.integer("linger_seconds", 1, int(a.opts.MaxLinger/time.Second))
		if err != nil {
			return want{}, err
		}
		out.linger = time.Duration(seconds) * time.Second
	}
	if out.place, err = q.place(r); err != nil {
		return want{}, err
	}
	if out.shared && out.place.from == broker.FromUnread {
		return want{}, invalid("from", "what is unread is known on subscriptions of one's own alone; ask for share=false")
	}
	return out, nil
}

func (q query) share() (bool, error) {
	none := !q.has("exchange") && !q.has("bindings")
	switch {
	case !q.has("share"):
		return !none, nil
	case q.get("share") == "false":
		return false, nil
	case q.get("share") != "true":
		return false, invalid("share", "this is one of true and false")
	case none:
		return false, invalid("share", "without bindings there is nothing to share")
	}
	return true, nil
}

// bindings reads either form of bindings, or none.
func (q query) bindings(most int) (bindingList, error) {
	if q.has("bindings") {
		if q.has("exchange") || q.has("routing_key") {
			return bindingList{}, invalid("bindings", "bindings excludes exchange and routing_key")
		}
		raw := []byte(q.get("bindings"))
		if err := validJSON(raw); err != nil {
			return bindingList{}, broker.AsError(err).WithField("bindings")
		}
		return parseBindings(bytes.Trim(raw, " \t\r\n"), most)
	}
	exchanges, keys := q.values["exchange"], q.values["routing_key"]
	if len(keys) > 0 && len(keys) != len(exchanges) {
		return bindingList{}, invalid("routing_key", "give one routing_key for each exchange, or none at all")
	}
	var out bindingList
	for i, exchange := range exchanges {
		key := "#"
		if len(keys) > 0 {
			if key = keys[i]; key == "" {
				return bindingList{}, invalid("routing_key",
					"the key is empty: # is written %23 in a URL, and an empty key can be given with bindings=").WithBinding(i)
			}
		}
		b, err := broker.NewBinding(exchange, key, nil)
		if err != nil {
			return bindingList{}, broker.AsError(err).WithBinding(i)
		}
		if out.add(b, i); len(out.list) > most {
			return bindingList{}, tooManyBindings(most)
		}
	}
	return out, nil
}
