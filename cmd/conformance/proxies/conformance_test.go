package proxies

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/cmd/conformance/suite"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// leftOut are the requirements that no proxy can change and memory:// cannot show; cmd/conformance tries them on RabbitMQ.
var leftOut = map[string]string{
	"P-65":  "needs a connection to a broker",
	"P-104": "needs a queue that overflows",
	"P-106": "needs a connection to a broker",
	"P-119": "needs an exchange that is deleted",
	"P-189": "needs a gateway that is read-only",
}

func TestGatewayBehindAProxyKeepsToTheProtocol(t *testing.T) {
	t.Parallel()
	for _, p := range both {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			conforms(t, p)
		})
	}
}

// conforms runs the whole suite through a proxy.
func conforms(t *testing.T, p proxy) {
	t.Helper()
	front := p.front(t)
	// Rates at which the suite, which keeps below them, has not to wait for long, and a log that is soon full.
	bounds := map[string]float64{"request-rate-per-caller": 200, "request-burst-per-caller": 400, "log-bytes": 2 << 20}
	address, stop, err := front(t.Context(), func(args ...string) error {
		for name, value := range bounds {
			args = append(args, fmt.Sprintf("--%s=%.0f", name, value))
		}
		warrentest.Start(t, args...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var progress bytes.Buffer
	rows, err := suite.Run(t.Context(), suite.Options{
		URL: address, Binary: warrentest.Binary(t), Front: front, Bounds: bounds, Progress: &progress, Patience: 40 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, r := range rows {
		why, may := leftOut[r.ID]
		switch {
		case r.Passed() && may:
			t.Errorf("%s was tried, but is listed as one that %s", r.ID, why)
		case r.Passed():
			passed++
		case r.Failed() || !may:
			t.Errorf("%s %s: %s\n\tseen: %s", r.ID, r.Status(), r.Text, r.Seen)
		}
	}
	t.Logf("%d of %d requirements kept behind %s; left out: %d", passed, len(rows), p.name, len(leftOut))
	if t.Failed() {
		t.Logf("progress:\n%s", strings.TrimSpace(progress.String()))
	}
}
