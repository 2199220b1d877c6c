package identity

import (
	"bytes"
	"context"
	"encoding/json"
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
		Client:                    &http.Client{Transport: usableKeys{next: r.transport, log: log}, CheckRedirect: neverFromTLS},
		HTTPTimeout:               fetchTimeout,
		NoErrorReturnFirstHTTPReq: &eventually,
		RateLimitWaitMax:          unknownKeyWait,
		RefreshErrorHandlerFunc:   func(string) func(context.Context, error) { return failed },
		// Gateways that were started together should not fetch together.
		RefreshInterval:   interval + rand.N(interval/10+1), //nolint:gosec // jitter
		RefreshUnknownKID: rate.NewLimiter(rate.Every(unknownKeyEvery), unknownKeyBurst),
		// usableKeys has looked at each key, and one that fails here would cost all others.
		ValidationSkipAll: true,
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

// usableKeys takes out of a set the keys that cannot be read: they are to be ignored (RFC 7517, section 5), while what reads the
// answer gives up the whole set for one of them. It also keeps an answer without end from filling the memory.
type usableKeys struct {
	next http.RoundTripper
	log  *slog.Logger
}

func (u usableKeys) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := u.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	bounded := io.LimitReader(response.Body, maxJWKSBytes)
	if response.StatusCode != http.StatusOK {
		response.Body = struct {
			io.Reader
			io.Closer
		}{bounded, response.Body}
		return response, nil
	}
	defer response.Body.Close()
	set, err := u.filter(request.Context(), bounded)
	if err != nil {
		return nil, err
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(set)), int64(len(set))
	return response, nil
}

// filter returns the set without what cannot be read. An answer without keys is no set: it must not revoke what is known.
func (u usableKeys) filter(ctx context.Context, body io.Reader) ([]byte, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(body).Decode(&set); err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("the answer is no key set")
	}
	usable := make([]jwkset.JWKMarshal, 0, len(set.Keys))
	var broken []error
	for i, raw := range set.Keys {
		jwk, err := readJWK(raw)
		switch {
		case err == nil:
			usable = append(usable, jwk.Marshal())
		case !errors.Is(err, jwkset.ErrUnsupportedKey): // those of other kinds may be there
			broken = append(broken, fmt.Errorf("the key at %d: %w", i, err))
		}
	}
	if len(broken) > 0 {
		u.log.LogAttrs(ctx, slog.LevelWarn, "keys of the JWKS cannot be used", slog.Int("keys", len(broken)), slog.Any("first", broken[0]))
	}
	return json.Marshal(jwkset.JWKSMarshal{Keys: usable})
}

// readJWK reads a key by what counts here. Certificates do not: who trusts the set trusts its keys, whatever else vouches for
// them. Nor does it matter what else a key is for.
func readJWK(raw json.RawMessage) (jwkset.JWK, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return jwkset.JWK{}, fmt.Errorf("not an object: %w", err)
	}
	for _, name := range []string{"x5u", "x5c", "x5t", "x5t#S256"} {
		delete(members, name)
	}
	rest, err := json.Marshal(members)
	if err != nil {
		return jwkset.JWK{}, err
	}
	return jwkset.NewJWKFromRawJSON(rest, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{SkipKeyOps: true, SkipUse: true})
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
