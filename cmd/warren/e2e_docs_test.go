package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The pages whose blocks marked sh are run as they stand. A block marked console is
// for people: it needs root, the network, somebody else's server or no end.
var runnablePages = []string{"README.md", "docs/quickstart.md"}

const (
	makeRunTimeout = 3 * time.Minute // it builds
	blockTimeout   = time.Minute
)

// TestCommandsOfThePagesWork starts the gateway as the README says and runs every
// command after it, from the same directory, as a reader would.
func TestCommandsOfThePagesWork(t *testing.T) {
	g := startMakeRun(t)
	path := shimPath(t)
	for _, name := range runnablePages {
		blocks := fencedBlocks(page(t, name), "sh")
		if len(blocks) == 0 {
			t.Errorf("%s has no block to run", name)
		}
		for _, b := range blocks {
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(name), b.line), func(t *testing.T) {
				if len(b.shows) == 0 {
					t.Error(`the block promises nothing: add <!-- shows: … --> after it`)
				}
				out := g.runBlock(t, path, b)
				for _, want := range b.shows {
					if !strings.Contains(out, want) {
						t.Errorf("the output has no %q:\n%s", want, out)
					}
				}
			})
		}
	}
}

// fencedBlock is a fenced block of a page, with what its output must have in it.
type fencedBlock struct {
	line  int
	text  string
	shows []string
}

var (
	blockPattern = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```\n((?:<!-- shows: .*? -->\n)*)")
	showsPattern = regexp.MustCompile(`<!-- shows: (.*?) -->`)
)

// fencedBlocks lists the blocks that are marked with a language.
func fencedBlocks(text, language string) []fencedBlock {
	var blocks []fencedBlock
	for _, m := range blockPattern.FindAllStringSubmatchIndex(text, -1) {
		if text[m[2]:m[3]] != language {
			continue
		}
		b := fencedBlock{line: 1 + strings.Count(text[:m[0]], "\n"), text: text[m[4]:m[5]]}
		for _, shows := range showsPattern.FindAllStringSubmatch(text[m[6]:m[7]], -1) {
			b.shows = append(b.shows, shows[1])
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// madeGateway is a gateway that `make run` has started.
type madeGateway struct{ url, admin string }

// startMakeRun runs what the README says, on free ports.
func startMakeRun(t *testing.T) *madeGateway {
	t.Helper()
	if !strings.Contains(page(t, "README.md"), "```console\nmake run\n```") {
		t.Error("the README starts the gateway in another way than this test")
	}
	cmd := exec.Command("make", "run") //nolint:noctx // ended by its group below
	cmd.Dir = repository
	cmd.Env = append(plainEnv(), "ARGS=--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0")
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
			t.Logf("make run said:\n%s", rest)
		}
	})
	select {
	case g := <-found:
		return g
	case said := <-read:
		read <- said
		t.Fatal("make run ended at once")
	case <-time.After(makeRunTimeout):
		t.Fatalf("make run does not serve after %v", makeRunTimeout)
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

// runBlock runs a block in the repository's directory and returns what it printed.
func (g *madeGateway) runBlock(t *testing.T, path string, b fencedBlock) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), blockTimeout)
	defer cancel()
	// The pages name the addresses that make run has; this one is elsewhere.
	host, admin := strings.TrimPrefix(g.url, "http://127.0.0.1"), strings.TrimPrefix(g.admin, "http://127.0.0.1")
	text := strings.NewReplacer("localhost:8080", "localhost"+host, "localhost:9090", "localhost"+admin).Replace(b.text)
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir = repository
	cmd.Env = append(plainEnv(), "PATH="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = patience
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v (%v)\n%s\n%s", err, ctx.Err(), b.text, out)
	}
	return string(out)
}

// curlShim stands before curl: a stream, which a reader would end with Ctrl-C, ends
// after its first message, and an answer of 400 or more is a failure.
const curlShim = `#!/bin/bash
if [[ " $* " != *" -N "* ]]; then
	exec %[1]q --fail-with-body --show-error --max-time 20 "$@"
fi
exec 3< <(exec %[1]q --silent --show-error --max-time 45 "$@")
while IFS= read -r line <&3; do
	printf '%%s\n' "$line"
	if [[ $line == 'data: {"type":"message"'* ]]; then
		kill "$!"
		exit 0
	fi
done
exit 1
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
