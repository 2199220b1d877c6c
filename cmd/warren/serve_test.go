package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

func TestListenPrintsReadyThenMessagesAndStopsAtItsCount(t *testing.T) {
	g := startGateway(t)
	for _, transport := range []string{"ws", "sse"} {
		t.Run(transport, func(t *testing.T) {
			exchange := "numbers-" + transport
			g.declare(exchange)
			l := startListen(t, g.url, exchange+"=#", "--transport", transport, "--count", "3")
			l.want("ready")
			g.publish(exchange, 1, 4)
			l.want("1", "2", "3", "END")
			if err := <-l.done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestListenGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel() // it mostly waits
	g := startGateway(t)
	for _, transport := range []string{"ws", "sse"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			exchange := "cut-" + transport
			g.declare(exchange)
			proxy := startCutter(t, g.url)
			l := startListen(t, proxy.url(), exchange, "--transport", transport)
			l.want("ready")
			proxy.cut() // before the first message: ready has an id
			g.publish(exchange, 1, 2)
			l.want("ready", "1", "2")
			for i := 3; i < 9; i += 2 {
				proxy.cut()
				g.publish(exchange, i, i+1)
				l.want("ready", fmt.Sprint(i), fmt.Sprint(i+1))
			}
		})
	}
}

func TestListenReportsWhatARestartLost(t *testing.T) {
	t.Parallel() // it mostly waits
	g := startGateway(t)
	g.declare("numbers")
	proxy := startCutter(t, g.url)
	l := startListen(t, proxy.url(), "numbers")
	l.want("ready")
	g.publish("numbers", 1, 1)
	l.want("1")
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	l.want("bye shutting_down")
	next := startGateway(t)
	next.declare("numbers")
	proxy.retarget(next.url)
	l.want("ready", "gap subscription_lost")
	next.publish("numbers", 2, 2)
	l.want("2")
}

func TestListenStopsWhenItIsRefusedForGood(t *testing.T) {
	g := startGateway(t, "--deny-exchange", "secret*")
	for _, c := range []struct{ exchange, transport, code, hint string }{
		{"secrets", "ws", "forbidden_binding", "not allowed"},
		{"secrets", "sse", "forbidden_binding", "does not let anybody"},
		{"nowhere", "ws", "exchange_not_found", "check the names"},
		{"nowhere", "sse", "exchange_not_found", "check its name"},
	} {
		var out, log bytes.Buffer
		err := run(t.Context(), process{args: []string{"listen", g.url, c.exchange, "--transport", c.transport}, stdout: &out, stderr: &log})
		if err == nil || !strings.Contains(err.Error(), c.code) || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s over %s: error is %v", c.exchange, c.transport, err)
		}
	}
}

// TestListenComesBackAfterWhatCanPass: a proxy that limits rates answers 429, and one whose gateway is being replaced 503.
func TestListenComesBackAfterWhatCanPass(t *testing.T) {
	g := startGateway(t)
	g.declare("numbers")
	target, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"ws", "sse"} {
		for status, after := range map[int]string{http.StatusTooManyRequests: "2", http.StatusServiceUnavailable: ""} {
			var asked atomic.Bool
			toGateway := httputil.NewSingleHostReverseProxy(target)
			toGateway.FlushInterval = -1
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !asked.Swap(true) {
					w.Header().Set("Retry-After", after)
					w.WriteHeader(status)
					return
				}
				r.Host = target.Host
				toGateway.ServeHTTP(w, r)
			}))
			l := startListen(t, proxy.URL, "numbers", "--transport", transport, "--count", "1")
			l.want("ready")
			g.publish("numbers", 1, 1)
			l.want("1", "END")
			if log := l.log.String(); !strings.Contains(log, http.StatusText(status)+"; again in "+after) {
				t.Errorf("%s, %d: the log is %q", transport, status, log)
			}
			proxy.Close()
		}
	}
}

// TestListenTakesAnEmptyKey: the gateway refuses one in a plain query.
func TestListenTakesAnEmptyKey(t *testing.T) {
	g := startGateway(t)
	g.declare("numbers")
	for _, transport := range []string{"ws", "sse"} {
		l := startListen(t, g.url, "numbers=", "numbers=other", "--transport", transport, "--count", "1")
		l.want("ready")
		g.publish("numbers", 1, 1) // its key is no empty one
		if status, answer := g.call("POST", g.url+"/v1/exchanges/numbers/publish", `{"routing_key":"","payload":"2","payload_encoding":"string","properties":{}}`); status != 200 {
			t.Fatalf("publishing: %d %s", status, answer)
		}
		l.want("2", "END")
	}
}

// TestListenWithoutATokenLearnsAtOnceThatOneIsWanted: a gateway that wants a
// token waits for one until something else comes, this one for ever.
func TestListenWithoutATokenLearnsAtOnceThatOneIsWanted(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"warren.v1"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		if _, _, err := conn.Read(r.Context()); err != nil {
			t.Errorf("nothing came: %v", err)
			return
		}
		_ = conn.Write(r.Context(), websocket.MessageText, []byte(`{"type":"bye","code":4401,"reason":"unauthorized","reconnect":false}`))
		_ = conn.Close(4401, "unauthorized")
	}))
	defer gateway.Close()
	err := run(bounded(t, patience), process{args: []string{"listen", gateway.URL, "orders"}, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "unauthorized") || !strings.Contains(err.Error(), "WARREN_TOKEN") {
		t.Errorf("error is %v", err)
	}
}

func TestAdminListenerHasMetricsAndHealth(t *testing.T) {
	g := startGateway(t)
	g.declare("numbers")
	l := startListen(t, g.url, "numbers", "--count", "1")
	l.want("ready")
	g.publish("numbers", 1, 1)
	l.want("1", "END")
	g.eventually(`warren_messages_sent_total{transport="ws"}`, 1)
	status, body := g.call("GET", g.admin+"/metrics", "")
	for _, want := range []string{
		`warren_messages_sent_total{transport="ws"} 1`, `warren_subscriptions{kind="shared",state="active"} 1`,
		`warren_broker_ready 1`, `go_goroutines `,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("status %d, no %q in the metrics", status, want)
		}
	}
	if status, _ := g.call("GET", g.admin+"/readyz", ""); status != 200 {
		t.Errorf("readyz answers %d", status)
	}
	if _, line := g.call("GET", g.admin+"/debug/pprof/cmdline", ""); strings.Contains(line, "-test.") {
		t.Errorf("a profile tells the flags, which may hold a password: %q", line)
	}
	if status, _ := g.call("GET", g.url+"/metrics", ""); status != 404 {
		t.Errorf("the public listener answers /metrics with %d", status)
	}
}

func TestPortInUseIsAClearError(t *testing.T) {
	g := startGateway(t)
	for flag, address := range map[string]string{"--listen": g.url, "--admin-listen": g.admin} {
		args := []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "", flag, strings.TrimPrefix(address, "http://")}
		err := run(t.Context(), process{args: args, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}})
		if err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: error is %v", flag, err)
		}
	}
}

// TestNameOfTheListenAddressIsServed has the name come after the listening, because no
// name but localhost means loopback on every machine.
func TestNameOfTheListenAddressIsServed(t *testing.T) {
	cfg := defaultConfig()
	cfg.Listen, cfg.AdminListen = "127.0.0.1:0", ""
	g, err := newGateway(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	g.cfg.Listen = "gate.internal:0"
	if err := g.buildAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"gate.internal": 200, "GATE.internal:80": 200, "localhost": 200, "evil.example": 421} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/exchanges", nil)
		r.Host = host
		answer := httptest.NewRecorder()
		g.api.ServeHTTP(answer, r)
		if answer.Code != want {
			t.Errorf("host %s: status %d, want %d", host, answer.Code, want)
		}
	}
}

func TestCommandLineThatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		"no command":          nil,
		"unknown command":     {"publish"},
		"at least one":        {"listen", "http://127.0.0.1"},
		"want the gateway's":  {"listen", "ftp://x", "e"},
		"ftp://u:xxxxx@x":     {"listen", "ftp://u:secret@x", "e"},
		"want ws or sse":      {"listen", "http://x", "e", "--transport", "tcp"},
		"--key is missing":    {"token", "--sub", "x"},
		"--sub is missing":    {"token", "--key", "x"},
		"--key: reading":      {"token", "--sub", "x", "--key", "/does/not/exist"},
		"token takes flags":   {"token", "x"},
		"unknown flag: --foo": {"token", "--foo"},
	} {
		var out bytes.Buffer
		err := run(context.Background(), process{args: args, stdout: &out, stderr: &out})
		var exit *exitError
		if !errors.As(err, &exit) || exit.code != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error is %v", args, err)
		}
	}
}
