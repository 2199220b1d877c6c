package suite

import (
	"net/http"
	"slices"
	"strings"
)

// binding is one as a request names it.
type binding struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
	Arguments  object `json:"arguments,omitempty"`
}

// on makes bindings of exchange, key pairs.
func on(pairs ...string) []binding {
	out := []binding{}
	for pair := range slices.Chunk(pairs, 2) {
		out = append(out, binding{Exchange: pair[0], RoutingKey: pair[1]})
	}
	return out
}

// Subscription is an owned subscription that was made by REST.
type Subscription struct {
	t     *T
	ID    string
	Path  string
	First object // the answer to its creation
}

// Create makes a subscription; members are name, value pairs beside the bindings. It is deleted with the check.
func (t *T) Create(bindings []binding, members ...any) *Subscription {
	body := object{"bindings": bindings}
	for pair := range slices.Chunk(members, 2) {
		body[pair[0].(string)] = pair[1]
	}
	r := t.TryCreate(body)
	if r.Status != http.StatusCreated {
		t.Fatalf("creating a subscription: %s %s", r, r.Raw)
	}
	return t.subscription(r)
}

// TryCreate posts a subscription, whatever comes of it; what was made is deleted with the check.
func (t *T) TryCreate(body any) *Reply {
	if err := t.creates.Wait(t.ctx); err != nil {
		t.Fatalf("creating a subscription: %v", err)
	}
	r := t.Post("/v1/subscriptions", body)
	if r.Status == http.StatusCreated {
		t.deleteLater("/v1/subscriptions/" + str(r.Body, "id"))
	}
	return r
}

func (t *T) subscription(r *Reply) *Subscription {
	return &Subscription{t: t, ID: str(r.Body, "id"), Path: "/v1/subscriptions/" + str(r.Body, "id"), First: r.Body}
}

// deleteLater deletes a subscription when the check has ended. Checks end by their own time limit, so a client of its own does it.
func (t *T) deleteLater(path string) {
	t.Cleanup(func() { t.delete(path) })
}

// Get reads the subscription.
func (s *Subscription) Get() map[string]any {
	r := s.t.Get(s.Path)
	if r.Status != http.StatusOK {
		s.t.Fatalf("GET subscription: %s", r)
	}
	return r.Body
}

// Bind adds bindings, or ends the check.
func (s *Subscription) Bind(bindings ...binding) map[string]any {
	r := s.t.Post(s.Path+"/bindings", object{"bindings": bindings})
	if r.Status != http.StatusOK {
		s.t.Fatalf("binding: %s %s", r, r.Raw)
	}
	return r.Body
}

// Post posts to a path below the subscription, or ends the check.
func (s *Subscription) Post(below string) map[string]any {
	r := s.t.Post(s.Path+below, nil)
	if r.Status != http.StatusOK {
		s.t.Fatalf("POST %s: %s %s", below, r, r.Raw)
	}
	return r.Body
}

// SSE attaches with Server-Sent Events; the query is name, value pairs.
func (s *Subscription) SSE(pairs ...string) *Stream {
	return s.t.SSE(s.Path+"/sse"+query(pairs...), nil)
}

// WS attaches with a WebSocket; the query is name, value pairs.
func (s *Subscription) WS(pairs ...string) *Stream {
	return s.t.WS(s.Path+"/ws"+query(pairs...), nil)
}

// Leave cuts the only stream that is attached and waits until the gateway has noticed: until then it hands events to it.
func (s *Subscription) Leave(stream *Stream) {
	stream.Cut()
	s.t.Eventually(s.t.patience, "a cut stream is no longer attached", func() bool {
		now := s.Get()
		return num(now, "attachments", "sse")+num(now, "attachments", "ws") == 0
	})
}

// keys returns "exchange key" of each binding, and its state if it is not bound.
func keys(bindings []object) string {
	out := make([]string, 0, len(bindings))
	for _, b := range bindings {
		s := str(b, "exchange") + " " + str(b, "routing_key")
		if state := str(b, "state"); state != "bound" {
			s += " " + state
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}
