package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/time/rate"
)

const (
	// unknownKeyEvery, unknownKeyBurst and unknownKeyWait bound what tokens that name unknown keys cost the issuer and the caller.
	unknownKeyEvery = 10 * time.Second
	unknownKeyBurst = 2
	unknownKeyWait  = 2 * time.Second
	// fetchTimeout bounds a fetch, also the one at start.
	fetchTimeout = 5 * time.Second
	// maxJWKSBytes bounds what is read of a key set.
	maxJWKSBytes = 1 << 20
)

// remoteKeys are the keys behind a JWKS URL: fetched at start, at an interval, and when a token names one that is not among them.
type remoteKeys struct {
	storage   jwkset.Storage
	transport *http.Transport
	cancel    context.CancelFunc
	// lifetime ends what fetches are under way. A fetch belongs to all who wait for a key: one client that goes away must
	// not end it, or hanging up in time would keep new keys out.
	lifetime context.Context //nolint:containedctx // the lifetime of the value itself
	failures atomic.Int64    // fetches that failed so far

	mu      sync.Mutex
	current *fetch // guarded by mu; the fetch under way, nil if there is none
}

// fetch is one search for an unknown key, which any number of callers wait for.
type fetch struct {
	done     chan struct{}
	answered bool // set before done is closed
}

// newRemoteKeys fetches the keys for the first time. If that fails, the log says so and it is tried again: the issuer need
// not be up before the gateway.
func newRemoteKeys(ctx context.Context, address string, interval time.Duration, log *slog.Logger) (*remoteKeys, error) {
	location, err := url.Parse(address)
	if err != nil || location.Host == "" || location.Scheme != "https" && location.Scheme != "http" {
		return nil, errors.New("the JWKS URL is not an http or https URL")
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	lifetime, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &remoteKeys{transport: transport.Clone(), lifetime: lifetime, cancel: cancel}
	failed := func(_ context.Context, err error) {
		r.failures.Add(1)
		log.Warn("cannot fetch the JWKS", slog.String("host", location.Host), slog.Any("error", withoutURL(err)))
	}
	eventually := true
	keys, err := keyfunc.NewDefaultOverrideCtx(lifetime, []string{address}, keyfunc.Override{
		Client:                    &http.Client{Transport: boundedBody{r.transport}, CheckRedirect: neverFromTLS},
		HTTPTimeout:               fetchTimeout,
		NoErrorReturnFirstHTTPReq: &eventually,
		RateLimitWaitMax:          unknownKeyWait,
		RefreshErrorHandlerFunc:   func(string) func(context.Context, error) { return failed },
		// Gateways that were started together should not fetch together.
		RefreshInterval:   interval + rand.N(interval/10+1), //nolint:gosec // jitter
		RefreshUnknownKID: rate.NewLimiter(rate.Every(unknownKeyEvery), unknownKeyBurst),
	})
	if err != nil {
		r.close()
		return nil, fmt.Errorf("JWKS: %w", withoutURL(err))
	}
	r.storage = keys.Storage()
	return r, nil
}

// close ends the fetches and the goroutine that keyfunc runs between them.
func (r *remoteKeys) close() {
	r.cancel()
	r.transport.CloseIdleConnections()
}

// keys returns the keys that are known now. Those that cannot be used (for encryption, of other methods) are left out: an issuer
// may publish them beside.
func (r *remoteKeys) keys() []key {
	set, err := r.storage.KeyReadAll(r.lifetime)
	if err != nil {
		return nil
	}
	keys := make([]key, 0, len(set))
	for _, jwk := range set {
		if k, err := keyFromJWK(jwk); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// fetch looks for a key that is not known, at most as often as the limiter allows, for at most unknownKeyWait. Callers that come
// while a fetch is under way wait for that one instead of having one of their own: after a rotation all clients come back at
// once, and the limiter would let two of them in. It reports whether the issuer was asked and has answered.
func (r *remoteKeys) fetch(ctx context.Context, id string) bool {
	r.mu.Lock()
	if current := r.current; current != nil {
		r.mu.Unlock()
		select {
		case <-current.done:
			return current.answered
		case <-ctx.Done():
			return false
		}
	}
	current := &fetch{done: make(chan struct{})}
	r.current = current
	r.mu.Unlock()

	failures := r.failures.Load()
	_, err := r.storage.KeyRead(r.lifetime, id) //nolint:contextcheck // it belongs to all who wait, as the field says
	current.answered = (err == nil || errors.Is(err, jwkset.ErrKeyNotFound)) && r.failures.Load() == failures
	close(current.done)

	r.mu.Lock()
	r.current = nil
	r.mu.Unlock()
	return current.answered
}

// boundedBody keeps an answer without end from filling the memory: the decoder that reads it has no bound of its own.
type boundedBody struct{ next http.RoundTripper }

func (b boundedBody) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxJWKSBytes), response.Body}
	return response, nil
}

// neverFromTLS refuses redirects from https to http, where anybody on the way could hand out keys.
func neverFromTLS(request *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("too many redirects")
	}
	if via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
		return errors.New("redirected from https to http")
	}
	return nil
}

// withoutURL takes the URL, which may hold a password or a key, out of an HTTP error.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
