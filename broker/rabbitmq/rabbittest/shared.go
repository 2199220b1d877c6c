package rabbittest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	urlEnv = "WARREN_TEST_AMQP_URL"
	ctlEnv = "WARREN_TEST_RABBITMQ_CTL"
)

// cleanupTimeout bounds what is done after a test.
const cleanupTimeout = 20 * time.Second

// lazyNode is a node that the test binary starts when a test first asks for it.
type lazyNode struct {
	mu   sync.Mutex // guards the rest
	node *Node
	err  error // of the first start: one clear failure per test, not one boot each
}

// The nodes of this test binary.
var sharedNode, privateNode lazyNode

func (l *lazyNode) get(ctx context.Context) (*Node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node == nil && l.err == nil {
		l.node, l.err = Start(ctx, Options{Plugins: []string{"rabbitmq_event_exchange"}})
	}
	return l.node, l.err
}

func (l *lazyNode) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node == nil {
		return nil
	}
	return l.node.Close()
}

// Main is the TestMain of a package that uses the nodes of this package: it runs the tests, ends the nodes, checks with goleak
// that no goroutine is left and exits.
//
//	func TestMain(m *testing.M) { rabbittest.Main(m) }
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(runner{m}, options...)
}

// runner ends the nodes after the tests and before goleak looks.
type runner struct{ m *testing.M }

// Run implements goleak.TestingM.
func (r runner) Run() int {
	code := r.m.Run()
	if err := errors.Join(sharedNode.close(), privateNode.close()); err != nil {
		fmt.Fprintln(os.Stderr, "rabbittest:", err)
		code = max(code, 1)
	}
	return code
}

// IgnoreNodes lets a test that verifies its own goroutines with goleak leave out those that wait for nodes of this package.
func IgnoreNodes() goleak.Option {
	return goleak.IgnoreAnyFunction("github.com/warren-gateway/warren/broker/rabbitmq/rabbittest.(*process).wait")
}

// shared answers the address of the shared node and, if this process may administer it, how.
func shared(t testing.TB) (url string, c *control) {
	t.Helper()
	if url := os.Getenv(urlEnv); url != "" {
		text := os.Getenv(ctlEnv)
		if text == "" {
			return url, nil
		}
		c, err := decodeControl(text)
		if err != nil {
			t.Fatal(err)
		}
		return url, &c
	}
	n, err := sharedNode.get(t.Context())
	if err != nil {
		fatal(t, err)
	}
	return n.URL(), &n.control
}

// fatal ends a test that has no server.
func fatal(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrNoServer) && os.Getenv(urlEnv) != "" {
		t.Fatalf("%s names a server, but this test needs a node of its own to stop or administer: %v", urlEnv, err)
	}
	if errors.Is(err, ErrNoServer) {
		t.Fatalf("%v; or set %s to a server for tests", err, urlEnv)
	}
	t.Fatal(err)
}

// URL answers the AMQP address of the shared node. Prefer VHost.
func URL(t testing.TB) string {
	t.Helper()
	url, _ := shared(t)
	return url
}

// VHost answers the AMQP address of a fresh virtual host on the shared node, removed when the test ends. On a server given by
// WARREN_TEST_AMQP_URL alone it is the virtual host of that address, used by all tests: give exchanges names of their own.
func VHost(t testing.TB) string {
	t.Helper()
	url, c := shared(t)
	if c == nil {
		return url
	}
	name := vhostName(t.Name())
	if err := c.addVHost(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		// The node itself goes soon; what a test left in it fails nobody.
		if err := c.deleteVHost(ctx, name); err != nil {
			t.Log(err)
		}
	})
	return strings.TrimSuffix(url, "/") + "/" + name
}

// vhostName makes a unique name, free of characters that an address escapes, that tells an operator which test it is of.
func vhostName(test string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		default:
			return '-'
		}
	}, test)
	return fmt.Sprintf("%.60s-%08x", plain, rand.Uint32()) //nolint:gosec // unique, not secret
}

// Ctl runs rabbitmqctl against the shared node and answers its output. It fails the test when the server is given by
// WARREN_TEST_AMQP_URL alone.
func Ctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := administer(t).ctl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Eval has the shared node evaluate an Erlang expression, as Node.Eval does. It fails the test as Ctl does.
func Eval(t testing.TB, expr string) string {
	t.Helper()
	out, err := administer(t).eval(t.Context(), expr)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryEval is Eval for who can do without the answer, and may call it on any goroutine.
func TryEval(t testing.TB, expr string) (string, error) {
	t.Helper()
	return administer(t).eval(t.Context(), expr)
}

func administer(t testing.TB) control {
	t.Helper()
	_, c := shared(t)
	if c == nil {
		t.Fatalf("this test administers its server and needs a private node: unset %s, or run it under rabbitnode", urlEnv)
	}
	return *c
}

// Private answers the node that belongs to this test binary alone, running and not paused whatever the test before did to
// it. The event exchange plugin is enabled. Tests that use it must not run in parallel with each other. It starts a node
// even when WARREN_TEST_AMQP_URL is set, because nobody may stop that server.
func Private(t testing.TB) *Node {
	t.Helper()
	n, err := privateNode.get(t.Context())
	if err != nil {
		fatal(t, err)
	}
	if !n.Running() {
		if err := n.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Continue(); err != nil {
		t.Fatal(err)
	}
	return n
}
