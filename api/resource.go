package api

import (
	"encoding/json"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// subscriptionDocument is a subscription as REST and WebSocket answers show it.
type subscriptionDocument struct {
	ID          string                 `json:"id"`
	Stream      string                 `json:"stream"`
	State       broker.State           `json:"state"`
	Bindings    []broker.BindingStatus `json:"bindings"`
	Payload     broker.PayloadMode     `json:"payload"`
	CreatedAt   string                 `json:"created_at"`
	ExpiresAt   *string                `json:"expires_at"`
	Linger      int                    `json:"linger_seconds"`
	Attachments struct {
		SSE int `json:"sse"`
		WS  int `json:"ws"`
	} `json:"attachments"`
	Oldest   *string `json:"oldest"`
	Newest   *string `json:"newest"`
	Counters struct {
		Received uint64 `json:"received"`
		Evicted  uint64 `json:"evicted"`
		Gaps     uint64 `json:"gaps"`
	} `json:"counters"`
	Links struct {
		Self string `json:"self"`
		SSE  string `json:"sse"`
		WS   string `json:"ws"`
	} `json:"links"`
}

// timeFormat is RFC 3339 in UTC, to the millisecond.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// document shows a subscription. Its links are references without scheme and
// host: what a proxy in front is called is its own affair.
func document(sub *broker.Subscription) subscriptionDocument {
	snap := sub.Snapshot()
	doc := subscriptionDocument{
		ID: snap.ID, Stream: snap.Stream, State: snap.State, Bindings: snap.Bindings, Payload: snap.Payload,
		CreatedAt: snap.Created.UTC().Format(timeFormat), Linger: int(snap.Linger / time.Second),
		Oldest: positionOrNull(snap.Oldest), Newest: positionOrNull(snap.Newest),
	}
	if doc.Bindings == nil {
		doc.Bindings = []broker.BindingStatus{}
	}
	if !snap.Expires.IsZero() {
		at := snap.Expires.UTC().Format(timeFormat)
		doc.ExpiresAt = &at
	}
	doc.Attachments.SSE, doc.Attachments.WS = snap.SSE, snap.WS
	doc.Counters.Received, doc.Counters.Evicted, doc.Counters.Gaps = snap.Received, snap.Evicted, snap.Gaps
	self := selfLink(sub)
	doc.Links.Self, doc.Links.SSE, doc.Links.WS = self, self+"/sse", self+"/ws"
	return doc
}

func selfLink(sub *broker.Subscription) string { return "/v1/subscriptions/" + sub.ID() }

func positionOrNull(p broker.Position) *string {
	if p.IsZero() {
		return nil
	}
	id := p.String()
	return &id
}

// resource is the document for WebSocket answers, nil on a shared subscription.
func resource(sub *broker.Subscription) json.RawMessage {
	if sub.Shared() {
		return nil
	}
	return encodeJSON(document(sub))
}
