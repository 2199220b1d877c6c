package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

const (
	makeRunTimeout = 3 * time.Minute // it builds
	blockTimeout   = 3 * time.Minute // one compiles an example
)

// TestCommandsOfThePagesWork starts the gateway as the README says and runs every block marked sh or python, from the same
// directory, as a reader would. A block marked console is for people: it needs root, somebody's server, or has no end.
func TestCommandsOfThePagesWork(t *testing.T) {
	t.Parallel() // it mostly waits
	g := startMakeRun(t)
	path := shimPath(t)
	var group sync.WaitGroup // all at once, since most of the time they wait for messages
	for _, b := range allBlocks(t) {
		if b.file != "" || b.language != "sh" && b.language != "python" {
			continue
		}
		group.Go(func() {
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(b.page), b.line), func(t *testing.T) {
				b.mustShow(t, g.runBlock(t, path, b))
			})
		})
	}
	group.Wait()
}

var showsPattern = regexp.MustCompile(`<!-- shows: (.*?) -->`)

// mustShow holds an output to what the block promises.
func (b docBlock) mustShow(t *testing.T, out string) {
	t.Helper()
	for _, want := range b.shows {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
}

// fencedBlocks lists the blocks of a page that are marked with a language and are not a copy of a file.
func fencedBlocks(t *testing.T, name, language string) []docBlock {
	t.Helper()
	return slices.DeleteFunc(blocksOf(name, page(t, name)), func(b docBlock) bool { return b.language != language || b.file != "" })
}

// madeGateway is a gateway that a command of a page has started.
type madeGateway struct{ url, admin string }

// startMakeRun runs what the README says, on free ports.
func startMakeRun(t *testing.T) *madeGateway {
	t.Helper()
	if !strings.Contains(page(t, "README.md"), "```console\nmake run\n```") {
		t.Error("the README starts the gateway in another way than this test")
	}
	cmd := exec.Command("make", "run") //nolint:noctx // ended by its group in serveUntilDone
	cmd.Dir = repository
	cmd.Env = append(plainEnv(), "ARGS=--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0")
	return serveUntilDone(t, cmd)
}

// serveUntilDone starts a command that serves, waits until it does, and ends it after the test as Ctrl-C would.
func serveUntilDone(t *testing.T, cmd *exec.Cmd) *madeGateway {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan *madeGateway, 1)
	read := make(chan string, 1)
	go func() { read <- readUntilListening(logs, found) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // as Ctrl-C
		late := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer late.Stop()
		rest := <-read
		_ = cmd.Wait() // make reports the interrupt
		if t.Failed() {
			t.Logf("%v said:\n%s", cmd.Args, rest)
		}
	})
	select {
	case g := <-found:
		return g
	case said := <-read:
		read <- said
		t.Fatalf("%v ended at once", cmd.Args)
	case <-time.After(makeRunTimeout):
		t.Fatalf("%v does not serve after %v", cmd.Args, makeRunTimeout)
	}
	return nil
}

// readUntilListening reads to the end, reports the addresses, and returns all but the frames' logs.
func readUntilListening(logs io.Reader, found chan<- *madeGateway) string {
	var said strings.Builder
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		var line struct{ Msg, URL, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			found <- &madeGateway{url: line.URL, admin: line.Admin}
		}
	}
	return said.String()
}

// plainEnv is the environment without what make and the tests put there.
func plainEnv() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS") && !strings.HasPrefix(entry, envPrefix) {
			env = append(env, entry)
		}
	}
	return env
}

// runBlock runs a block in the repository's directory and returns what it printed. A script in Python has a directory of its
// own. What a reader would end with Ctrl-C, a stream or such a script, ends when it has shown what it shall.
func (g *madeGateway) runBlock(t *testing.T, path string, b docBlock) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), blockTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", g.addressed(b.text))
	cmd.Dir = repository
	if b.language == "python" {
		cmd = exec.CommandContext(ctx, "python3", "-u", "-c", g.addressed(b.text))
		cmd.Dir = t.TempDir()
	}
	// As the gateway was built, so that a Go example needs nothing compiled that the gateway has, too.
	cmd.Env = append(plainEnv(), "PATH="+path, "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -trimpath")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = patience
	out := &shownOutput{}
	if b.language == "python" || strings.Contains(b.text, "curl -N ") {
		out.shows, out.enough = b.shows, cancel
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil && !out.shown() {
		t.Fatalf("%v (%v)\n%s\n%s", err, ctx.Err(), b.text, out.all.String())
	}
	return out.all.String()
}

// addressed puts this gateway's addresses in the place of those that make run has on the pages.
func (g *madeGateway) addressed(text string) string {
	host, admin := strings.TrimPrefix(g.url, "http://127.0.0.1"), strings.TrimPrefix(g.admin, "http://127.0.0.1")
	return strings.NewReplacer("localhost:8080", "localhost"+host, "localhost:9090", "localhost"+admin).Replace(text)
}

// shownOutput keeps an output, and calls enough when all of shows are in it. Only the goroutine of exec writes to it.
type shownOutput struct {
	all    strings.Builder
	shows  []string
	enough func()
}

func (o *shownOutput) Write(p []byte) (int, error) {
	o.all.Write(p)
	if o.shown() {
		o.enough()
	}
	return len(p), nil
}

// shown is whether something was to be shown, and was.
func (o *shownOutput) shown() bool {
	for _, want := range o.shows {
		if !strings.Contains(o.all.String(), want) {
			return false
		}
	}
	return len(o.shows) > 0
}

// curlShim stands before curl: an answer of 400 or more is a failure, save on a stream, which shows it.
const curlShim = `#!/bin/bash
if [[ " $* " != *" -N "* ]]; then
	exec %[1]q --fail-with-body --show-error --max-time 20 "$@"
fi
exec %[1]q --silent --show-error --max-time 45 "$@"
`

// shimPath returns a PATH on which curl is curlShim.
func shimPath(t *testing.T) string {
	t.Helper()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("the pages use curl: ", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "curl"), fmt.Appendf(nil, curlShim, curl), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir + string(os.PathListSeparator) + os.Getenv("PATH")
}

// readmeBroker is where the README has its RabbitMQ.
const readmeBroker = "rabbit.example.org:5672/"

// TestConsoleBlocksThatServeWork makes the user, starts the gateway and listens with the commands of the README, at a RabbitMQ
// that is started for the tests.
func TestConsoleBlocksThatServeWork(t *testing.T) {
	t.Parallel() // it mostly waits
	admin := rabbittest.VHost(t)
	at := strings.TrimPrefix(admin, "amqp://guest:guest@")
	vhost := at[strings.LastIndexByte(at, '/')+1:]
	pub := newRabbitPublisher(t, admin)
	pub.declare("orders")
	pub.declare("builds")

	setUp := consoleBlock(t, "README.md", "rabbitmqctl add_user")
	var serve string
	for line := range strings.Lines(setUp.text) {
		words := shellWords(strings.ReplaceAll(line, "-p / ", "-p "+vhost+" "))
		if words[0] != "rabbitmqctl" {
			serve = strings.ReplaceAll(line, readmeBroker, at)
			continue
		}
		rabbittest.Ctl(t, append([]string{"-q"}, words[1:]...)...)
	}
	defer rabbittest.Ctl(t, "-q", "delete_user", "warren") // in a Cleanup the test's context would be over
	g := serveBlock(t, binDirectory(t), serve)

	ctx, stop := context.WithCancel(t.Context())
	published := make(chan struct{})
	go func() {
		defer close(published)
		for ctx.Err() == nil { // the client is there at some time
			publishOne(ctx, pub.ch, "orders")
		}
	}()
	listen := consoleBlock(t, "README.md", "curl -N 'http://localhost:8080/v1/sse?exchange=orders'")
	listen.shows = []string{"event: ready", `"exchange":"orders"`}
	out := g.runBlock(t, shimPath(t), listen)
	stop()
	<-published
	listen.mustShow(t, out)
}

// publishOne publishes and waits for the broker's word.
func publishOne(ctx context.Context, ch *amqp.Channel, exchange string) {
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, "n.1", false, false, amqp.Publishing{Body: []byte("1")})
	if err == nil {
		_, _ = confirm.WaitContext(ctx)
	}
}

// TestTokensOfTheQuickStartWork makes keys, starts the gateway with them, makes a token and listens with it.
func TestTokensOfTheQuickStartWork(t *testing.T) {
	dir := binDirectory(t)
	serving := consoleBlock(t, "docs/quickstart.md", "openssl genpkey")
	g := serveBlock(t, dir, strings.ReplaceAll(serving.text, "0.0.0.0:8080", "0.0.0.0:0"))
	g.url = "http://127.0.0.1" + g.url[strings.LastIndexByte(g.url, ':'):]
	b := consoleBlock(t, "docs/quickstart.md", "TOKEN=")
	b.text = "cd " + dir + "\n" + b.text
	b.shows = []string{"event: ready", `"type":"message"`}
	b.mustShow(t, g.runBlock(t, shimPath(t), b))
	// What the page says after it: anything else is 403.
	b.text = strings.NewReplacer("routing_key=linux.%23", "routing_key=%23", "curl -N", "command -p curl -s").Replace(b.text)
	b.shows = []string{`"status":403`}
	b.mustShow(t, g.runBlock(t, shimPath(t), b))
}

// consoleBlock finds a block of a page by how it begins.
func consoleBlock(t *testing.T, name, begins string) docBlock {
	t.Helper()
	for _, b := range fencedBlocks(t, name, "console") {
		if strings.HasPrefix(b.text, begins) {
			return b
		}
	}
	t.Fatalf("%s has no block that begins with %q", name, begins)
	return docBlock{}
}

// binDirectory is a directory with bin/warren in it, as the pages have it, where commands may leave files.
func binDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	binary, err := filepath.Abs(warrentest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "warren")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serveBlock runs commands of a page of which the last one serves, on free ports.
func serveBlock(t *testing.T, dir, commands string) *madeGateway {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", commands) //nolint:noctx // ended by its group in serveUntilDone
	cmd.Dir = dir
	cmd.Env = append(plainEnv(), "WARREN_LISTEN=127.0.0.1:0", "WARREN_ADMIN_LISTEN=127.0.0.1:0")
	g := serveUntilDone(t, cmd)
	g.awaitReady(t)
	return g
}

// awaitReady waits until the gateway has its broker, as a reader who types does.
func (g *madeGateway) awaitReady(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		resp, err := client.Get(g.admin + "/readyz") //nolint:noctx // the gateway ends with the test
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not ready after %v", patience)
		}
	}
}
