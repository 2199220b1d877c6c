package api_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// timedAnswer is a ResponseWriter that notes which deadline held when the answer began.
type timedAnswer struct {
	*httptest.ResponseRecorder

	mu       sync.Mutex // guards all below
	deadline time.Time
	began    time.Time // the deadline then
	flushes  int
}

func newTimedAnswer() *timedAnswer {
	a := &timedAnswer{ResponseRecorder: httptest.NewRecorder()}
	a.Code = 0 // until it begins
	return a
}

func (a *timedAnswer) SetWriteDeadline(at time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deadline = at
	return nil
}

func (a *timedAnswer) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.began = a.deadline
	a.ResponseRecorder.WriteHeader(status)
}

func (a *timedAnswer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Code == 0 {
		a.began = a.deadline
	}
	return a.ResponseRecorder.Write(p)
}

func (a *timedAnswer) FlushError() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushes++
	return nil
}

// TestEveryAnswerThatIsNoStreamHasABoundOfTime looks at answers that need neither
// a token nor a rate, among others.
func TestEveryAnswerThatIsNoStreamHasABoundOfTime(t *testing.T) {
	g := newGateway(t, func(s *setup) { s.options.AllowOrigins = []string{"https://page.example"} })
	g.declare("orders", "topic")
	for _, c := range []struct {
		request string
		header  http.Header
		status  int
	}{
		{"GET /livez", nil, 200},
		{"GET /readyz", nil, 200},
		{"POST /livez", nil, 405},
		{"OPTIONS /livez", nil, 204},
		{"OPTIONS /v1/sse", nil, 204},
		{"OPTIONS /v1/sse", http.Header{"Origin": {"https://page.example"}, "Access-Control-Request-Method": {"GET"}}, 204},
		{"HEAD /v1/sse?exchange=orders", nil, 200},
		{"GET /v1/exchanges", nil, 200},
		{"GET /nothing", nil, 404},
		{"GET /v1/ws", nil, 426},
		{"BREW /v1/exchanges", nil, 405},
		{"GET /v1/exchanges", http.Header{"Host": {"evil.example"}}, 421},
		{"GET /v1/exchanges", http.Header{"Origin": {"https://evil.example"}}, 403},
	} {
		method, target, _ := strings.Cut(c.request, " ")
		a := g.timed(method, target, c.header)
		if left := time.Until(a.began); a.Code != c.status || left <= 0 || left > 30*time.Second {
			t.Errorf("%s %v: status %d, %v to read it", c.request, c.header, a.Code, left)
		}
	}
	g.api.Drain()
	a := g.timed("GET", "/v1/sse?exchange=orders", http.Header{"Accept": {"text/event-stream"}})
	if left := time.Until(a.began); a.Code != 200 || left <= 0 || left > 30*time.Second || !strings.Contains(a.Body.String(), "event: bye") {
		t.Errorf("a refused EventSource: status %d, %v to read %s", a.Code, left, a.Body)
	}
}

// TestStreamHasNoBoundOfTime has one over HTTP/2: there a deadline that passes ends a stream that is idle, too.
func TestStreamHasNoBoundOfTime(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	a := newTimedAnswer()
	r := httptest.NewRequestWithContext(t.Context(), "GET", g.base+"/v1/sse?exchange=orders", http.NoBody)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.api.ServeHTTP(a, r)
	}()
	g.eventually("the stream is idle, and has no deadline", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.flushes > 0 && a.began.IsZero() && a.deadline.IsZero()
	})
	g.streams.Close()
	<-done
}

// timed asks the handler itself.
func (g *gateway) timed(method, target string, header http.Header) *timedAnswer {
	g.t.Helper()
	a := newTimedAnswer()
	r := httptest.NewRequestWithContext(g.t.Context(), method, g.base+target, http.NoBody)
	maps.Copy(r.Header, header)
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	g.api.ServeHTTP(a, r)
	return a
}

// TestOptionsOfTheWholeServerAreAnsweredHere has a request that net/http would answer by itself.
func TestOptionsOfTheWholeServerAreAnsweredHere(t *testing.T) {
	g := newGateway(t)
	a := askFor(t, g.addr, "OPTIONS *")
	if a.status != http.StatusNotFound || a.header.Get("Content-Security-Policy") == "" {
		t.Errorf("status %d, %v", a.status, a.header)
	}
}
