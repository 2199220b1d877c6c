package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
	"github.com/warren-gateway/warren/cmd/conformance/suite"
)

func TestMain(m *testing.M) { rabbittest.Main(m) }

// binary returns a warren executable: the one that make has built, or a new one.
func binary(t *testing.T) string {
	t.Helper()
	if name, err := exec.LookPath(os.Getenv("WARREN_TEST_BINARY")); err == nil {
		return name
	}
	name := filepath.Join(t.TempDir(), "warren")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", name, "../warren").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}

// gateway starts a gateway with default bounds and returns its address.
func gateway(t *testing.T, binary, broker string) string {
	t.Helper()
	spec, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	p, err := suite.Start(t.Context(), binary, suite.ServeArgs(spec, broker, nil)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p.URL
}

// The requirements that no run of the suite can try with this source, even with a binary.
var (
	leftOutOnMemory = []string{
		"P-65", "P-106", // a connection to a broker
		"P-104", // a queue that overflows
		"P-119", // an exchange that is deleted
		"P-189", // a gateway that is read-only
	}
	leftOutOnRabbitMQ = []string{
		"P-183", "P-184", "P-185", "P-186", "P-187", // exchanges of the gateway's own
	}
)

func TestGatewayKeepsToTheProtocol(t *testing.T) {
	warren := binary(t)
	t.Run("memory", func(t *testing.T) {
		conforms(t, suite.Options{URL: gateway(t, warren, "memory://"), Binary: warren}, leftOutOnMemory)
	})
	t.Run("rabbitmq", func(t *testing.T) {
		url := rabbittest.VHost(t)
		conforms(t, suite.Options{URL: gateway(t, warren, url), AMQPURL: url, Binary: warren}, leftOutOnRabbitMQ)
	})
}

// conforms runs the suite and fails for each requirement that is broken, or left out although it can be tried.
func conforms(t *testing.T, o suite.Options, leftOut []string) {
	t.Helper()
	var progress bytes.Buffer
	o.Progress = &progress
	rows, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, r := range rows {
		may := slices.Contains(leftOut, r.ID)
		switch {
		case r.Passed() && may:
			t.Errorf("%s was tried, but is listed as one that cannot be", r.ID)
		case r.Passed():
			passed++
		case !may:
			t.Errorf("%s %s: %s\n\tseen: %s", r.ID, r.Status(), r.Text, r.Seen)
		}
	}
	t.Logf("%d of %d requirements kept", passed, len(rows))
	if t.Failed() {
		t.Logf("progress:\n%s", strings.TrimSpace(progress.String()))
	}
}
