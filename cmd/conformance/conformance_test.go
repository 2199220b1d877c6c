package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/conformance/suite"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

func TestMain(m *testing.M) { rabbittest.Main(m) }

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
	warren := warrentest.Binary(t)
	t.Run("memory", func(t *testing.T) {
		conforms(t, suite.Options{URL: warrentest.Start(t).URL, Binary: warren}, leftOutOnMemory)
	})
	t.Run("rabbitmq", func(t *testing.T) {
		url := rabbittest.VHost(t)
		conforms(t, suite.Options{URL: warrentest.Start(t, "--broker", url).URL, AMQPURL: url, Binary: warren}, leftOutOnRabbitMQ)
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
