package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// stalledWriter is an answer that nobody reads until it is released.
type stalledWriter struct {
	*httptest.ResponseRecorder
	reached, release chan struct{}
}

func (w *stalledWriter) Write(p []byte) (int, error) {
	select {
	case w.reached <- struct{}{}:
	default:
	}
	<-w.release
	return w.ResponseRecorder.Write(p)
}

// TestListThatNobodyReadsHoldsUpNoOtherCallers, and the same caller's next one is refused rather than kept in line for ever.
func TestListThatNobodyReadsHoldsUpNoOtherCallers(t *testing.T) {
	i := newIssuer(t)
	g := newGateway(t, i.use)
	alice, bob := i.token("alice", time.Hour, "orders=#"), i.token("bob", time.Hour, "orders=#")
	g.create(`{}`, bearer(alice)...)
	list := func(ctx context.Context, w http.ResponseWriter, token string) {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, g.base+"/v1/subscriptions", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		g.api.ServeHTTP(w, r)
	}
	stalled := &stalledWriter{httptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		list(t.Context(), stalled, alice)
	}()
	<-stalled.reached
	other := httptest.NewRecorder()
	if list(t.Context(), other, bob); other.Code != http.StatusOK {
		t.Errorf("another caller got %d: %s", other.Code, other.Body)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	next := httptest.NewRecorder()
	if list(waiting, next, alice); next.Code != http.StatusTooManyRequests || next.Header().Get("Retry-After") != "5" {
		t.Errorf("the next got %d: %s", next.Code, next.Body)
	}
	close(stalled.release)
	<-done
	last := httptest.NewRecorder()
	if list(t.Context(), last, alice); last.Code != http.StatusOK || last.Body.String() != stalled.Body.String() {
		t.Errorf("first %s, then %d %s", stalled.Body, last.Code, last.Body)
	}
}
