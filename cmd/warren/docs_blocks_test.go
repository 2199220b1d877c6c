package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every fenced block of the pages is held to what it says: it is run, compared with a file, or, where it cannot be run
// here, looked at line by line (TestConsoleBlocksNameWhatThereIs) and listed in unrunBlocks with the reason.

// nodeTest runs the scripts of clientPages in Node, against the real binary.
const nodeTest = "web/client/test/docs.test.js"

var (
	// consolePages have scripts that TestScriptsOfThePagesWorkInAConsole pastes into a browser's console.
	consolePages = []string{"README.md", "docs/recipes.md"}
	clientPages  = []string{"docs/client.md", clientReadme}
)

const clientReadme = "web/client/README.md"

// unrunBlock is a block of a page that no test runs as it stands: its first line, and why, or which test does what it says.
type unrunBlock struct{ page, begins, why string }

const (
	longRun    = "takes minutes, and the machine for itself"
	testSuite  = "is the test suite, of which this test is a part"
	needsRoot  = "needs root, systemd, and the machine for itself"
	runHere    = "run by TestConsoleBlocksThatServeWork"
	tokenBlock = "run by TestTokensOfTheQuickStartWork"
)

var unrunBlocks = []unrunBlock{
	{"README.md", "make run", "run by TestCommandsOfThePagesWork, before all others"},
	{"README.md", "rabbitmqctl add_user", runHere},
	{"README.md", "curl -N 'http://localhost:8080/v1/sse?exchange=orders'", runHere},
	{"README.md", "make test", testSuite},
	{"docs/quickstart.md", "make run", "as in the README"},
	{"docs/quickstart.md", "bin/warren serve --demo --allow-origin", "TestPageOfTheQuickStartShowsMessages does so"},
	{"docs/quickstart.md", "python3 -m http.server", "TestPageOfTheQuickStartShowsMessages serves the page"},
	{"docs/quickstart.md", "sudo rabbitmqctl add_user", "TestUserOfThePagesSufficesAndCanDoNothingElse compares it with the README"},
	{"docs/quickstart.md", "curl -N 'http://localhost:8080/v1/sse?exchange=orders'", "as in the README"},
	{"docs/quickstart.md", "openssl genpkey", tokenBlock},
	{"docs/quickstart.md", "TOKEN=", tokenBlock},
	{"docs/contributing.md", "export WARREN_TEST_RABBITMQ_BIN", "installs another Debian release, as root"},
	{"docs/operations.md", "rabbitmqctl add_user", "TestUserOfThePagesSufficesAndCanDoNothingElse compares it with the README"},
	{"docs/contributing.md", "make build", testSuite},
	{"docs/contributing.md", "go test ./cmd/warren", "writes pages that the tests it names compare"},
	{"docs/performance.md", "sudo apt-get install", longRun},
	{"docs/faults.md", "make faults", longRun},
	{"docs/capacity.md", "ulimit -n", needsRoot},
	{"docs/capacity.md", "make bench", longRun},
	{"docs/deploy/README.md", "sudo install bin/warren", needsRoot},
	{"docs/recipes.md", "import { Warren }", "JSX, read by " + nodeTest + ", which runs the hook in it"},
	{"docs/recipes.md", "<script>", "compiled and rendered by " + nodeTest},
	{"docs/recipes.md", "bin/warren serve --broker", "needs somebody's RabbitMQ; TestConsoleBlocksNameWhatThereIs reads the flags"},
}

// docBlock is a fenced block of a page and the marks after it.
type docBlock struct {
	page, language, text, file string
	line                       int
	shows                      []string
}

var (
	anyBlockPattern = regexp.MustCompile("(?ms)^ *```([^\n`]*)\n(.*?)^ *```\n((?:<!-- (?:shows|file): .*? -->\n)*)")
	fileMarkPattern = regexp.MustCompile(`<!-- file: (\S+) -->`)
)

// allBlocks lists the blocks of all pages.
func allBlocks(t *testing.T) []docBlock {
	t.Helper()
	var blocks []docBlock
	for _, name := range append(pages(t), clientReadme) {
		blocks = append(blocks, blocksOf(name, page(t, name))...)
	}
	return blocks
}

func blocksOf(name, text string) []docBlock {
	var blocks []docBlock
	for _, m := range anyBlockPattern.FindAllStringSubmatchIndex(text, -1) {
		b := docBlock{page: name, language: text[m[2]:m[3]], text: text[m[4]:m[5]], line: 1 + strings.Count(text[:m[0]], "\n")}
		marks := text[m[6]:m[7]]
		for _, shows := range showsPattern.FindAllStringSubmatch(marks, -1) {
			b.shows = append(b.shows, shows[1])
		}
		if file := fileMarkPattern.FindStringSubmatch(marks); file != nil {
			b.file = file[1]
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func TestEveryBlockOfThePagesIsRunOrListed(t *testing.T) {
	used := make([]bool, len(unrunBlocks))
	for _, b := range allBlocks(t) {
		if fault := blockFault(t, b, used); fault != "" {
			t.Errorf("%s:%d: %s", b.page, b.line, fault)
		}
	}
	for i, u := range unrunBlocks {
		if !used[i] {
			t.Errorf("%s has no block that begins with %q any more: take it off the list", u.page, u.begins)
		}
	}
	source := page(t, nodeTest)
	for _, name := range clientPages {
		if !strings.Contains(source, name) {
			t.Errorf("%s does not run the scripts of %s", nodeTest, name)
		}
	}
}

// blockFault says what is wrong with a block, if anything, and notes which entry of unrunBlocks it used.
func blockFault(t *testing.T, b docBlock, used []bool) string {
	t.Helper()
	if b.file != "" {
		if page(t, b.file) != b.text {
			return "the block is not what " + b.file + " has"
		}
		return ""
	}
	switch b.language {
	case "mermaid", "text", "json":
		return "" // a picture, or what a command answers
	case "sh", "python":
		if len(b.shows) == 0 {
			return "the block promises nothing: add <!-- shows: … --> after it"
		}
		return "" // TestCommandsOfThePagesWork runs it
	case "js":
		switch {
		case slices.Contains(clientPages, b.page):
			return ""
		case slices.Contains(consolePages, b.page) && len(b.shows) > 0:
			return ""
		}
	case "html":
		if b.page == "docs/quickstart.md" {
			return "" // TestPageOfTheQuickStartShowsMessages opens it
		}
	case "yaml":
		if b.page == "docs/configuration.md" {
			return "" // TestConfigurationPageIsCurrent writes it
		}
	case "":
		return "mark the block with a language: sh if a test shall run it, console if it cannot, text for what is answered"
	}
	for i, u := range unrunBlocks {
		if u.page == b.page && strings.HasPrefix(b.text, u.begins) {
			used[i] = true
			return ""
		}
	}
	return "no test runs this block of " + b.language + "; let one, or list it in unrunBlocks with the reason"
}

func TestBlocksThatNobodyRunsAreNoticed(t *testing.T) {
	for text, want := range map[string]string{
		"```sh\nls\n```\n":                                    "promises nothing",
		"```sh\nls\n```\n<!-- shows: x -->\n":                 "",
		"```console\nrm -rf /\n```\n":                         "no test runs",
		"```\nls\n```\n":                                      "mark the block",
		"```js\n1\n```\n":                                     "no test runs",
		"```rust\n1\n```\n":                                   "no test runs",
		"```js\n1\n```\n<!-- file: docs/redocly.yaml -->\n":   "is not what",
		"1. in a list:\n   ```yaml\n   a: b\n   ```\n":        "no test runs",
		"```mermaid\nflowchart LR\n```\n":                     "",
		"```python\n1\n```\n<!-- shows: a -->\n":              "",
		"```console\nmake run\n```\n":                         "no test runs", // another page may not lean on the README's entry
		"~~~\n```text\n1\n```\n~~~\n":                         "",
		"```html\n<p>\n```\n":                                 "no test runs",
		"a\n```json\n{\"a\":1}\n```\n<!-- shows: never -->\n": "",
	} {
		blocks := blocksOf("docs/new.md", text)
		if len(blocks) != 1 {
			t.Errorf("%q has %d blocks", text, len(blocks))
			continue
		}
		if got := blockFault(t, blocks[0], make([]bool, len(unrunBlocks))); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

var commentPattern = regexp.MustCompile(`(?m)(?:^|\s)#\s.*$`)

// TestCommandsCanBePastedIntoAnyShell reads the blocks as sh does, and their comments as an interactive zsh, which knows
// none: a quote without its other half makes it wait for more.
func TestCommandsCanBePastedIntoAnyShell(t *testing.T) {
	for _, b := range allBlocks(t) {
		if b.language != "sh" && b.language != "console" {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", "-c", b.text).CombinedOutput(); err != nil {
			t.Errorf("%s:%d: %v\n%s", b.page, b.line, err, out)
		}
		if strings.Contains(b.text, "<<<") {
			t.Errorf("%s:%d: sh has no <<<", b.page, b.line) // where it is bash, it does not say so
		}
		for _, comment := range commentPattern.FindAllString(b.text, -1) {
			for _, quote := range []string{"'", `"`, "`"} {
				if strings.Count(comment, quote)%2 != 0 {
					t.Errorf("%s:%d: a lone %s in %q", b.page, b.line, quote, comment)
				}
			}
		}
	}
}

var (
	targetPattern  = regexp.MustCompile(`(?m)^([a-z-]+):.*## `)
	makePattern    = regexp.MustCompile(`^make ([a-z-]+)((?: +[A-Z]+=(?:'[^']*'|\S+))*)\s*$`)
	goPathPattern  = regexp.MustCompile(`^go (?:run|test) (\./[\w./]+?)(?:/\.\.\.)?(?: -run '([^']+)' -update)?\s*$`)
	argsPattern    = regexp.MustCompile(`ARGS='([^']*)'`)
	flagPattern    = regexp.MustCompile(`(?:^| )-([a-z]+)`)
	composePattern = regexp.MustCompile(`docker compose -f (\S+)`)
)

// TestConsoleBlocksNameWhatThereIs reads what no test runs: targets of make, their flags, packages, tests, and settings of the
// gateway must exist.
func TestConsoleBlocksNameWhatThereIs(t *testing.T) {
	var targets []string
	for _, m := range targetPattern.FindAllStringSubmatch(page(t, "Makefile"), -1) {
		targets = append(targets, m[1])
	}
	for _, b := range allBlocks(t) {
		if b.language != "console" {
			continue
		}
		for line := range strings.SplitSeq(b.text, "\n") {
			command, _, _ := strings.Cut(line, " #")
			if err := commandFault(t, strings.TrimSpace(command), targets); err != nil {
				t.Errorf("%s:%d: %s: %v", b.page, b.line, command, err)
			}
		}
	}
	for _, name := range pages(t) {
		for _, m := range composePattern.FindAllStringSubmatch(page(t, name), -1) {
			if _, err := os.Stat(filepath.Join(repository, m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// commandFault looks at one command; what it knows nothing of is fine.
func commandFault(t *testing.T, command string, targets []string) error {
	t.Helper()
	switch {
	case strings.HasPrefix(command, "make "):
		m := makePattern.FindStringSubmatch(command)
		if m == nil {
			return fmt.Errorf("the test does not understand it")
		}
		if !slices.Contains(targets, m[1]) {
			return fmt.Errorf("the Makefile has no target %s", m[1])
		}
		return flagsFault(t, m[1], m[2])
	case strings.HasPrefix(command, "go "):
		m := goPathPattern.FindStringSubmatch(command)
		if m == nil {
			return fmt.Errorf("the test does not understand it")
		}
		_, err := os.Stat(filepath.Join(repository, m[1]))
		return err
	case strings.Contains(command, "bin/warren serve"):
		return settingsFault(command)
	}
	return nil
}

// flagsFault looks for each flag of ARGS in the source of the command that the target runs.
func flagsFault(t *testing.T, target, variables string) error {
	t.Helper()
	args := argsPattern.FindStringSubmatch(variables)
	if args == nil {
		return nil
	}
	sources, err := filepath.Glob(filepath.Join(repository, "cmd", target, "*.go"))
	if err != nil || len(sources) == 0 {
		return fmt.Errorf("cmd/%s has no source: %w", target, err)
	}
	var all strings.Builder
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all.Write(text)
	}
	for _, m := range flagPattern.FindAllStringSubmatch(args[1], -1) {
		if !regexp.MustCompile(`[(, ]"` + m[1] + `", `).MatchString(all.String()) {
			return fmt.Errorf("cmd/%s has no flag -%s", target, m[1])
		}
	}
	return nil
}

// settingsFault has the gateway read the flags, and the environment before them.
func settingsFault(command string) error {
	words := shellWords(command)
	at := slices.Index(words, "bin/warren")
	return run(context.Background(), process{
		args: append(words[at+1:], "--print-config"), env: words[:at], stdout: io.Discard, stderr: io.Discard,
	})
}

// shellWords splits a simple command: words, and quotes of either kind.
func shellWords(command string) []string {
	var words []string
	for _, m := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(command, -1) {
		words = append(words, strings.NewReplacer(`'`, "", `"`, "").Replace(m))
	}
	return words
}
