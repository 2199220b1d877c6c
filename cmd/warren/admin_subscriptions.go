package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// Bounds of GET /admin/subscriptions: it is for a look, not for an inventory.
const (
	defaultListed  = 20
	maxListed      = 100
	maxBindingsOf  = 10
	evictionWait   = 5 * time.Second
	adminTimestamp = "2006-01-02T15:04:05.000Z07:00"
)

// listedSubscription is a subscription for an operator's eyes. It has the stream
// id, which opens nothing with tokens, and never the subscription id, which does.
type listedSubscription struct {
	Stream       string                 `json:"stream"`
	Kind         string                 `json:"kind"`
	State        broker.State           `json:"state"`
	Owner        string                 `json:"owner,omitempty"`
	CreatedAt    string                 `json:"created_at"`
	Bindings     []broker.BindingStatus `json:"bindings"` // at most maxBindingsOf
	BindingCount int                    `json:"binding_count"`
	Attachments  struct {
		SSE int `json:"sse"`
		WS  int `json:"ws"`
	} `json:"attachments"`
	LogBytes         int64   `json:"log_bytes"`
	MaxLagFrames     uint64  `json:"max_lag_frames"`
	MaxLagSeconds    float64 `json:"max_lag_seconds"`
	FramesPerSecond  float64 `json:"frames_per_second"`
	MessagesReceived uint64  `json:"messages_received"`
	FramesEvicted    uint64  `json:"frames_evicted"`
	Gaps             uint64  `json:"gaps"`
}

// subscriptionList is the answer of GET /admin/subscriptions.
type subscriptionList struct {
	// Total is how many subscriptions there are, listed or not.
	Total int `json:"total"`
	// By is what the listed ones are the first of.
	By            string               `json:"by"`
	Subscriptions []listedSubscription `json:"subscriptions"`
}

// candidate is a subscription and what it costs.
type candidate struct {
	sub  *broker.Subscription
	load broker.Load
}

type order struct {
	by      string
	compare func(a, b candidate) int
}

// orders say what "top" means; the first is the default. Equals are in the order
// of their names, so that a page that looks again does not jump.
var orders = []order{
	{"memory", func(a, b candidate) int { return cmp.Compare(b.load.LogBytes, a.load.LogBytes) }},
	{"lag", func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.load.Lag.Events, a.load.Lag.Events), cmp.Compare(b.load.Lag.Age, a.load.Lag.Age))
	}},
	{"rate", func(a, b candidate) int { return cmp.Compare(b.load.Rate, a.load.Rate) }},
}

// listSubscriptions answers the subscriptions that take most.
func (g *gateway) listSubscriptions(w http.ResponseWriter, r *http.Request) {
	by, limit, refused := listParameters(r)
	if refused != nil {
		refuseAdmin(w, refused)
		return
	}
	all := g.core.All()
	candidates := make([]candidate, 0, len(all))
	for _, sub := range all {
		candidates = append(candidates, candidate{sub, sub.Load(nil)})
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(by.compare(a, b), cmp.Compare(a.sub.Stream(), b.sub.Stream()))
	})
	list := subscriptionList{Total: len(all), By: by.by, Subscriptions: []listedSubscription{}}
	for _, c := range candidates[:min(limit, len(candidates))] {
		list.Subscriptions = append(list.Subscriptions, listed(c))
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(list) // a client that is gone is no error of ours
}

// listParameters reads by and limit.
func listParameters(r *http.Request) (by order, limit int, refused *broker.Error) {
	query := r.URL.Query()
	name := cmp.Or(query.Get("by"), orders[0].by)
	i := slices.IndexFunc(orders, func(o order) bool { return o.by == name })
	if i < 0 {
		return order{}, 0, broker.Errorf(broker.CodeInvalidRequest, "this is one of memory, lag and rate").WithField("by")
	}
	limit = defaultListed
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxListed {
			return order{}, 0, broker.Errorf(broker.CodeInvalidRequest, "this is a number from 1 to "+strconv.Itoa(maxListed)).WithField("limit")
		}
		limit = n
	}
	return orders[i], limit, nil
}

func listed(c candidate) listedSubscription {
	snap := c.sub.Snapshot()
	l := listedSubscription{
		Stream: snap.Stream, Kind: kindOf(c.sub), State: snap.State, Owner: c.sub.Owner(),
		CreatedAt: snap.Created.UTC().Format(adminTimestamp),
		Bindings:  snap.Bindings[:min(len(snap.Bindings), maxBindingsOf)], BindingCount: len(snap.Bindings),
		LogBytes: c.load.LogBytes, MaxLagFrames: c.load.Lag.Events, MaxLagSeconds: c.load.Lag.Age.Seconds(), FramesPerSecond: c.load.Rate,
		MessagesReceived: snap.Received, FramesEvicted: snap.Evicted, Gaps: snap.Gaps,
	}
	if l.Bindings == nil {
		l.Bindings = []broker.BindingStatus{}
	}
	l.Attachments.SSE, l.Attachments.WS = snap.SSE, snap.WS
	return l
}

// evictSubscription ends a subscription on an operator's word: its streams get a
// bye 4410 subscription_deleted. It answers when the queue is gone at the broker,
// or after a while when the broker is slow.
func (g *gateway) evictSubscription(w http.ResponseWriter, r *http.Request) {
	sub, ok := g.core.ByStream(r.PathValue("stream"))
	if !ok {
		refuseAdmin(w, broker.Errorf(broker.CodeSubscriptionNotFound, "there is no subscription with this stream id"))
		return
	}
	snap := sub.Snapshot()
	sub.End(broker.EndDeleted)
	g.logger.LogAttrs(r.Context(), slog.LevelWarn, "subscription evicted by an operator",
		slog.String("stream", snap.Stream), slog.String("kind", kindOf(sub)), slog.Int("attachments", snap.SSE+snap.WS),
		slog.Int64("log_bytes", snap.LogBytes), slog.String("peer", r.RemoteAddr))
	ctx, cancel := context.WithTimeout(r.Context(), evictionWait)
	defer cancel()
	select {
	case <-sub.Done():
	case <-ctx.Done():
	}
	w.WriteHeader(http.StatusNoContent)
}
