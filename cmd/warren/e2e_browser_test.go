package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestScriptsOfThePagesWorkInAConsole runs each block marked js as a reader would who
// pastes it into the console of the gateway's page.
func TestScriptsOfThePagesWorkInAConsole(t *testing.T) { //nolint:tparallel // the tabs share one connection to the browser
	t.Parallel() // it mostly waits
	g := startGateway(t, "--demo")
	host := strings.TrimPrefix(g.url, "http://127.0.0.1")
	browser := startChromium(t)
	for _, name := range consolePages {
		blocks := fencedBlocks(t, name, "js")
		if len(blocks) == 0 {
			t.Errorf("%s has no script", name)
		}
		for _, b := range blocks {
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(name), b.line), func(t *testing.T) {
				tab := browser.open(t, "http://localhost"+host+"/")
				tab.evaluate(t, strings.ReplaceAll(b.text, "localhost:8080", "localhost"+host))
				for _, want := range b.shows {
					tab.awaitConsole(t, want)
				}
			})
		}
	}
}

func TestPageOfTheQuickStartShowsMessages(t *testing.T) {
	t.Parallel() // it mostly waits
	blocks := fencedBlocks(t, "docs/quickstart.md", "html")
	if len(blocks) != 1 {
		t.Fatalf("the quick start has %d pages", len(blocks))
	}
	var text string
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(text))
	}))
	defer site.Close()
	g := startGateway(t, "--demo", "--allow-origin", site.URL)
	text = strings.ReplaceAll(blocks[0].text, "http://localhost:8080", g.url)
	tab := startChromium(t).open(t, site.URL+"/page.html")
	tab.awaitTrue(t, `document.querySelectorAll("li").length > 2`)
}

// chromium is a headless browser, driven over the DevTools protocol.
type chromium struct {
	conn     *websocket.Conn
	last     int      // id of the last command
	console  []string // what pages wrote, with the session before it
	deadline time.Time
}

// tab is a page in it.
type tab struct {
	browser *chromium
	session string
}

var devToolsPattern = regexp.MustCompile(`DevTools listening on (ws://\S+)`)

func startChromium(t *testing.T) *chromium {
	t.Helper()
	cmd := exec.Command(chromiumPath(t), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", //nolint:noctx // ended below
		"--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := devToolsPattern.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	t.Cleanup(func() { // before the directory is removed
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(3 * patience)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	select {
	case url := <-address:
		conn, _, err := websocket.Dial(ctx, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		conn.SetReadLimit(-1)
		return &chromium{conn: conn, deadline: deadline}
	case <-ended:
		t.Fatal("Chromium ended at once")
	case <-ctx.Done():
		t.Fatal("Chromium does not start")
	}
	return nil
}

func chromiumPath(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("WARREN_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: make deps installs it, or WARREN_TEST_CHROMIUM names one")
	return ""
}

type devToolsCommand struct {
	ID        int    `json:"id"`
	SessionID string `json:"sessionId,omitempty"`
	Method    string `json:"method"`
	Params    any    `json:"params"`
}

// devToolsMessage is an answer or an event.
type devToolsMessage struct {
	ID        int
	SessionID string
	Method    string
	Params    struct {
		Args []struct{ Value, Description any }
	}
	Result json.RawMessage
	Error  *struct{ Message string }
}

// noContext is what a tab says to a script while one document makes way for the
// next, as the empty one does for the page: it is asked again.
const noContext = "Cannot find default execution context"

// call sends a command and returns its result; what the console says meanwhile is kept.
func (c *chromium) call(t *testing.T, session, method string, params, result any) {
	t.Helper()
	c.last++
	id := c.last
	command, err := json.Marshal(devToolsCommand{ID: id, SessionID: session, Method: method, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.deadline)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, command); err != nil {
		t.Fatal(err)
	}
	for {
		m := c.read(t)
		if m.ID != id {
			continue
		}
		if m.Error != nil && m.Error.Message == noContext {
			<-time.After(50 * time.Millisecond)
			c.call(t, session, method, params, result)
			return
		}
		if m.Error != nil {
			t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}

func (c *chromium) read(t *testing.T) devToolsMessage {
	t.Helper()
	ctx, cancel := context.WithDeadline(context.Background(), c.deadline)
	defer cancel()
	_, data, err := c.conn.Read(ctx)
	if err != nil {
		t.Fatalf("%v; the console says %q", err, c.console)
	}
	var m devToolsMessage
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if m.Method == "Runtime.consoleAPICalled" {
		for _, arg := range m.Params.Args {
			c.console = append(c.console, fmt.Sprint(m.SessionID, " ", arg.Value, arg.Description))
		}
	}
	return m
}

// open opens a page in a tab of its own.
func (c *chromium) open(t *testing.T, url string) *tab {
	t.Helper()
	var target struct{ TargetID, SessionID string }
	c.call(t, "", "Target.createTarget", map[string]any{"url": url}, &target)
	c.call(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	opened := &tab{c, target.SessionID}
	c.call(t, opened.session, "Runtime.enable", struct{}{}, nil)
	opened.awaitTrue(t, fmt.Sprintf(`location.href === %q && document.readyState === "complete"`, url))
	return opened
}

// evaluate runs a script as the console does and returns its value.
func (p *tab) evaluate(t *testing.T, script string) any {
	t.Helper()
	var result struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	p.browser.call(t, p.session, "Runtime.evaluate", map[string]any{"expression": script, "replMode": true}, &result)
	if result.ExceptionDetails != nil {
		t.Fatalf("%s:\n%s", result.ExceptionDetails.Text, script)
	}
	return result.Result.Value
}

func (p *tab) awaitTrue(t *testing.T, script string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for p.evaluate(t, script) != true {
		<-tick.C // a page that never gets there ends with the browser's patience
	}
}

// awaitConsole waits until the page has written something with the text in it.
func (p *tab) awaitConsole(t *testing.T, want string) {
	t.Helper()
	for {
		for _, line := range p.browser.console {
			if strings.HasPrefix(line, p.session+" ") && strings.Contains(line, want) {
				return
			}
		}
		p.browser.read(t)
	}
}
