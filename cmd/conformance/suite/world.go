package suite

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

// World is the deployment that the checks of a run share.
type World struct {
	options  Options
	base     *url.URL
	contract *contract.Contract
	board    *board
	source   Source
	tag      string // makes names of this run its own
	names    *atomic.Int64
	patience time.Duration // how long may take what must come
	requests *rate.Limiter
	creates  *rate.Limiter

	transport *http.Transport
}

// polite is the part of the gateway's rates and caps that the suite uses, so that whoever else is there is not refused.
const polite = 0.8

// defaultPatience suits a gateway far away, and a busy one.
const defaultPatience = 15 * time.Second

func newWorld(o Options, base *url.URL, spec *contract.Contract, b *board) *World {
	if o.Parallel == 0 {
		o.Parallel = 12
	}
	w := &World{options: o, base: base, contract: spec, board: b, names: &atomic.Int64{}, tag: strings.ToLower(rand.Text()[:6])}
	w.patience = cmp.Or(o.Patience, defaultPatience)
	w.transport = newTransport()
	w.requests = w.limiter("request-rate-per-caller", "request-burst-per-caller")
	w.creates = w.limiter("create-rate-per-caller", "create-burst-per-caller")
	return w
}

// unused is for how long a connection is kept on which nothing is asked. A gateway closes those on which nothing ever was after 5 s,
// and a request that crosses with that is lost. A Transport has such connections when it was quicker to use another again.
const unused = 4 * time.Second

// newTransport speaks HTTP/1.1, or HTTP/2 over TLS, and takes any certificate: what is tried is the protocol.
func newTransport() *http.Transport {
	return &http.Transport{
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // gateways under test have certificates of their own making
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       unused,
		ResponseHeaderTimeout: 20 * time.Second,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
	}
}

func (w *World) limiter(perSecond, burst string) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(polite*w.Bound(perSecond)), max(1, int(polite*w.Bound(burst))))
}

func (w *World) close() {
	if w.source != nil {
		w.source.Close()
	}
	w.transport.CloseIdleConnections()
}

// Bound returns the value of a flag, named without dashes, as the gateway under test has it; durations are in seconds.
func (w *World) Bound(flag string) float64 {
	if v, ok := w.options.Bounds[flag]; ok {
		return v
	}
	return w.contract.Tables().DefaultOf(flag)
}

// Seconds returns a bound that is a duration.
func (w *World) Seconds(flag string) time.Duration {
	return time.Duration(w.Bound(flag) * float64(time.Second))
}

// meet waits until the gateway answers.
func (w *World) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Transport: w.transport}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath("readyz").String(), nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("/readyz answers %s", resp.Status)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the gateway at %s is not ready: %w", w.base, err)
		}
	}
}

// HTTPS tells whether the gateway is reached over TLS.
func (w *World) HTTPS() bool { return w.base.Scheme == "https" }
