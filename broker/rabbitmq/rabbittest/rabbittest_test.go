package rabbittest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestMain(m *testing.M) { rabbittest.Main(m) }

// dial opens a connection and a channel that the test closes.
func dial(t *testing.T, url string) (*amqp.Connection, *amqp.Channel) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatalf("dialing %s: %v", url, err)
	}
	// The server or the test may have closed it before.
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return conn, ch
}

func declareQueue(t *testing.T, ch *amqp.Channel, name string) {
	t.Helper()
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
}

func TestFreePortIsKeptForWhoAskedForIt(t *testing.T) {
	port, err := rabbittest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if socket, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", address); err == nil {
		_ = socket.Close()
		t.Error("another process could reserve it, too")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("nobody can listen on it: %v", err)
	}
	_ = listener.Close()
}

func TestVHostsAreSeparateAndGoneAfterTheTest(t *testing.T) {
	rabbittest.Eval(t, "ok") // says so where virtual hosts cannot be made
	var urls []string
	t.Run("two", func(t *testing.T) {
		urls = []string{rabbittest.VHost(t), rabbittest.VHost(t)}
		_, first := dial(t, urls[0])
		_, second := dial(t, urls[1])
		declareQueue(t, first, "q")
		if _, err := second.QueueDeclarePassive("q", true, false, false, false, nil); err == nil {
			t.Error("a queue of one virtual host is seen in the other")
		}
	})
	for _, url := range urls {
		if conn, err := amqp.Dial(url); err == nil {
			t.Errorf("%s is still there", url)
			_ = conn.Close()
		}
	}
}

func TestSharedNodeIsAdministered(t *testing.T) {
	url := rabbittest.VHost(t)
	name := url[strings.LastIndex(url, "/")+1:]
	if list := rabbittest.Ctl(t, "-q", "list_vhosts"); !strings.Contains(list, name) {
		t.Errorf("list_vhosts has no %q: %s", name, list)
	}
	if got := rabbittest.Eval(t, "1 + 2"); got != "3" {
		t.Errorf("1 + 2 is %q", got)
	}
}

func TestPrivateNodeKeepsItsDataThroughRestartAndKill(t *testing.T) {
	n := rabbittest.Private(t)
	for _, step := range []struct {
		name string
		end  func() error
	}{
		{"stop", n.Stop},
		{"kill", n.Kill},
		{"none", func() error { return nil }},
	} {
		t.Run(step.name, func(t *testing.T) {
			conn, ch := dial(t, n.URL())
			declareQueue(t, ch, "kept")
			closed := conn.NotifyClose(make(chan *amqp.Error, 1))
			pid := n.PID()
			if err := step.end(); err != nil {
				t.Fatal(err)
			}
			if err := n.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			select {
			case reason := <-closed:
				t.Log("connection closed:", reason)
			case <-time.After(10 * time.Second):
				t.Error("the connection has outlived the server")
			}
			if n.PID() == pid || n.PID() == 0 {
				t.Errorf("process id %d before, %d after", pid, n.PID())
			}
			_, ch = dial(t, n.URL())
			if _, err := ch.QueueDeclarePassive("kept", true, false, false, false, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPrivateRunsAgainWhateverTheTestBeforeDid(t *testing.T) {
	n := rabbittest.Private(t)
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if n.Running() || n.PID() != 0 {
		t.Error("runs after Kill")
	}
	if err := n.Pause(); err == nil {
		t.Error("a killed server was paused")
	}
	dial(t, rabbittest.Private(t).URL())
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	dial(t, rabbittest.Private(t).URL())
}

func TestPausedNodeDoesNotAnswer(t *testing.T) {
	n := rabbittest.Private(t)
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if out, err := n.Eval(ctx, "ok"); err == nil {
		t.Errorf("a paused server answered %q", out)
	}
	if err := n.Continue(); err != nil {
		t.Fatal(err)
	}
	if out, err := n.Eval(t.Context(), "ok"); err != nil || out != "ok" {
		t.Errorf("after Continue: %q, %v", out, err)
	}
}

func TestStartedNodeHasPluginsAndConfigAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	n, err := rabbittest.Start(t.Context(), rabbittest.Options{
		Plugins: []string{"rabbitmq_event_exchange"},
		Config:  "channel_max = 7",
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, ch := dial(t, n.URL())
	if got := conn.Config.ChannelMax; got != 7 {
		t.Errorf("channel_max = %d", got)
	}
	if err := ch.ExchangeDeclarePassive("amq.rabbitmq.event", "topic", true, false, true, false, nil); err != nil {
		t.Error(err)
	}
	if !strings.Contains(n.Logs(), "Server startup complete") {
		t.Error("the log is not in Logs")
	}
	pid := n.PID()
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("server process %d: %v", pid, err)
	}
	if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestRefusedConfigurationIsReportedWithTheLog(t *testing.T) {
	n, err := rabbittest.Start(t.Context(), rabbittest.Options{Config: "no.such.key = 1"})
	if err == nil {
		t.Fatal("started", n.Close())
	}
	if !strings.Contains(err.Error(), "no.such.key") {
		t.Errorf("the reason is missing: %v", err)
	}
}

// TestRunTellsOfANodeThatDoesNotStart: its server ends with a status too, which is not the command's.
func TestRunTellsOfANodeThatDoesNotStart(t *testing.T) {
	code, err := rabbittest.Run(t.Context(), rabbittest.Options{Config: "no.such.key = 1"}, "true")
	if code == 0 || err == nil || !strings.Contains(err.Error(), "no.such.key") {
		t.Errorf("status %d, the reason is missing: %v", code, err)
	}
}

func TestMissingServerIsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Setenv("WARREN_TEST_RABBITMQ_BIN", t.TempDir())
	n, err := rabbittest.Start(t.Context(), rabbittest.Options{})
	if err == nil {
		t.Fatal("started", n.Close())
	}
	if !errors.Is(err, rabbittest.ErrNoServer) || !strings.Contains(err.Error(), "apt-get install rabbitmq-server") {
		t.Error(err)
	}
}

func TestRunGivesTheCommandANodeToUse(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	script := `case "$WARREN_TEST_AMQP_URL" in amqp://*) ;; *) exit 3 ;; esac
		case "$WARREN_TEST_RABBITMQ_CTL" in *epmd_port*) exit 7 ;; esac`
	code, err := rabbittest.Run(t.Context(), rabbittest.Options{}, "/bin/sh", "-c", script)
	if code != 7 || err != nil {
		t.Errorf("exit status 7 expected: %d, %v", code, err)
	}
	if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
