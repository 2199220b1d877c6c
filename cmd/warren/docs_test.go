package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// go test ./cmd/warren -run 'TestConfigurationPageIsCurrent|TestEveryMetricIsDescribed' -update
// writes what these tests compare.
var update = flag.Bool("update", false, "write the generated parts of the pages")

// repository is where the pages are, seen from this package.
const repository = "../.."

// page reads a page of the repository.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestConfigurationPageIsCurrent(t *testing.T) {
	mustBeCurrent(t, "docs/configuration.md", configurationPage(t))
}

// mustBeCurrent compares a page with what it should be, or with -update makes it so.
func mustBeCurrent(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join(repository, name), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page(t, name) != want {
		t.Errorf("%s is not current; write it with: go test ./cmd/warren -run %s -update", name, t.Name())
	}
}

const configurationIntro = `# Configuration

<!-- Written by a test of cmd/warren from its Config; do not edit. -->

` + "`warren serve`" + ` takes its settings from four places. Later ones win:

1. the defaults below
2. a YAML file: ` + "`--config FILE`" + ` or ` + "`WARREN_CONFIG`" + `; a key is the flag with _ for -, as ` + "`log_frames: 4096`" + `; one without a value keeps the default
3. the environment: WARREN_ and the flag in capitals with _ for -; lists are separated by commas
4. flags; the flag of a list is repeated

What is unknown or makes no sense is an error that names it, and the gateway does not start. ` + "`warren serve --print-config`" + `
prints the settings as they would be used, in the form of the file, without secrets: the broker's password is masked and its parameters are left out,
and of ` + "`--jwks-url`" + ` a password and the query are masked. Set these two again where the file is to be used.

Durations are written as Go does (` + "`15s`, `5m`, `1h30m`" + `), sizes in bytes, rates per second. Every bound must be above zero: there is no way to
turn one off. ` + "`warren listen`" + ` and ` + "`warren token`" + ` are described by their ` + "`--help`" + `.
`

// configurationPage makes the page from Config.
func configurationPage(t *testing.T) string {
	t.Helper()
	cfg := defaultConfig()
	var sb strings.Builder
	sb.WriteString(configurationIntro)
	group := ""
	for _, f := range configFields(&cfg) {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&sb, "\n## %s\n\n| flag | environment | default | |\n| --- | --- | --- | --- |\n", group)
		}
		fmt.Fprintf(&sb, "| `--%s` | `%s` | %s | %s |\n", f.flag, f.env, defaultText(f), escapeCell(f.help))
	}
	sb.WriteString("\n## All of it as a file\n\nThe defaults, as `--print-config` prints them:\n\n```yaml\n")
	if err := printConfig(&sb, &cfg); err != nil {
		t.Fatal(err)
	}
	sb.WriteString("```\n")
	return sb.String()
}

// escapeCell keeps globs from becoming emphasis and bars from ending a cell.
func escapeCell(s string) string { return strings.NewReplacer("*", `\*`, "|", `\|`).Replace(s) }

// defaultText writes a default for people: sizes with their unit, nothing for what is empty.
func defaultText(f field) string {
	switch v := f.display().(type) {
	case []string:
		if len(v) == 0 {
			return ""
		}
		return "`" + strings.Join(v, ",") + "`"
	case string:
		if v == "" {
			return ""
		}
		if f.value.Type() == reflect.TypeFor[time.Duration]() {
			v = strings.TrimSuffix(v, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(v, "m0s")] // 5m0s is 5m
		}
		return "`" + v + "`"
	case bool:
		return map[bool]string{true: "on", false: "off"}[v]
	default:
		return fmt.Sprintf("%v%s", v, sizeText(f))
	}
}

func sizeText(f field) string {
	if !strings.HasSuffix(f.key, "bytes") && f.key != "memory_budget" {
		return ""
	}
	return fmt.Sprintf(" (%d MiB)", f.value.Int()>>20)
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	fencePattern   = regexp.MustCompile("(?ms)^```.*?^```")
	codePattern    = regexp.MustCompile("`[^`\n]*`")
)

func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	for _, name := range pages(t) {
		text := fencePattern.ReplaceAllString(page(t, name), "")
		for _, match := range linkPattern.FindAllStringSubmatch(codePattern.ReplaceAllString(text, ""), -1) {
			if err := checkLink(t, name, match[1]); err != nil {
				t.Errorf("%s: link to %s: %v", name, match[1], err)
			}
		}
	}
}

// pages lists README.md and every page under docs, as paths of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md"}
	err := fs.WalkDir(os.DirFS(repository), "docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func checkLink(t *testing.T, from, target string) error {
	t.Helper()
	if strings.HasPrefix(target, "https://") || strings.HasPrefix(target, "http://") {
		return nil // the network is nothing to depend on
	}
	path, anchor, _ := strings.Cut(target, "#")
	name := from
	if path != "" {
		name = filepath.Join(filepath.Dir(from), path)
	}
	if _, err := os.Stat(filepath.Join(repository, name)); err != nil {
		return err
	}
	if anchor != "" && !slices.Contains(anchors(page(t, name)), anchor) {
		return fmt.Errorf("%s has no heading of that name", name)
	}
	return nil
}

// anchors lists the fragments that GitHub gives the headings of a page.
func anchors(text string) []string {
	var out []string
	for _, match := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1]))
	}
	return out
}

var (
	namedTestPattern = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`")
	testPattern      = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w+)\(`)
)

// TestPagesNameRealTests holds above all the threat model to what is tested.
func TestPagesNameRealTests(t *testing.T) {
	tests := allTests(t)
	for _, name := range pages(t) {
		for _, m := range namedTestPattern.FindAllStringSubmatch(page(t, name), -1) {
			if tests[m[1]] == "" {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
}

func TestThreatModelNamesEveryFuzzTargetAndEachHasAKeptCorpus(t *testing.T) {
	model := page(t, "docs/security.md")
	for name, source := range allTests(t) {
		if !strings.HasPrefix(name, "Fuzz") {
			continue
		}
		if !strings.Contains(model, "`"+name+"`") {
			t.Errorf("docs/security.md does not name %s", name)
		}
		kept, err := os.ReadDir(filepath.Join(repository, filepath.Dir(source), "testdata", "fuzz", name))
		if err != nil || len(kept) == 0 {
			t.Errorf("%s keeps no corpus (%v)", name, err)
		}
	}
}

func TestReadmeListsEveryPage(t *testing.T) {
	readme := page(t, "README.md")
	for _, name := range pages(t)[1:] {
		if !strings.Contains(readme, "("+name+")") {
			t.Errorf("README.md does not list %s", name)
		}
	}
}

// allTests maps the names of the tree's tests and fuzz targets to their files.
func allTests(t *testing.T) map[string]string {
	t.Helper()
	tests := map[string]string{}
	tree := os.DirFS(repository)
	err := fs.WalkDir(tree, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "node_modules"}, entry.Name()):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(tree, path)
		for _, m := range testPattern.FindAllSubmatch(source, -1) {
			tests[string(m[1])] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
