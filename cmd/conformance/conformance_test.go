package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/api/identity"
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

// A deployment that asks for tokens is driven with one; the rates are such that nothing has to wait.
func TestGatewayThatAsksForTokensKeepsToTheProtocol(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	grant, err := identity.ParseGrant("conformance.*")
	if err != nil {
		t.Fatal(err)
	}
	token, err := identity.Mint(identity.MintOptions{KeyFile: key, Subject: "conformance", TTL: time.Hour, Grants: identity.Grants{grant}})
	if err != nil {
		t.Fatal(err)
	}
	g := warrentest.Start(t, "--jwt-key", key, "--request-rate-per-caller", "500", "--request-burst-per-caller", "500", "--create-rate-per-caller", "100")
	var only []string
	for i := 1; i <= 131; i++ { // not what waits for time to pass, or is used up
		if id := "P-" + strconv.Itoa(i); !slices.Contains([]string{"P-24", "P-25", "P-96", "P-97", "P-98", "P-100", "P-101", "P-102", "P-107", "P-122", "P-69"}, id) {
			only = append(only, id)
		}
	}
	rows, err := suite.Run(t.Context(), suite.Options{
		URL: g.URL, Token: string(token), Only: only,
		Bounds: map[string]float64{"request-rate-per-caller": 500, "request-burst-per-caller": 500, "create-rate-per-caller": 100},
	})
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, r := range rows {
		if r.Failed() {
			t.Errorf("%s: %s\n\tseen: %s", r.ID, r.Text, r.Seen)
		} else if r.Passed() {
			passed++
		}
	}
	if passed < 80 {
		t.Errorf("only %d requirements were tried", passed)
	}
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
