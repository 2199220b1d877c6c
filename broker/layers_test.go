package broker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The packages of this module may import each other only as the design says; depguard in .golangci.yml keeps the same
// rules at the editor's side. Rules that hold for what is shipped do not bind _test.go files.
const (
	layerModule    = "github.com/warren-gateway/warren"
	layerAMQP      = "github.com/rabbitmq/amqp091-go"
	layerWebSocket = "github.com/coder/websocket"
)

// layerPackage is what go list says about a package.
type layerPackage struct {
	ImportPath string
	Name       string
	Imports    []string // of the package without its tests
	Deps       []string // the same with all that comes along
}

// layerRules say which of our packages the packages under a path may import; paths are relative to the module, and "/..."
// means what is below as well. The longest path that fits decides, and a package that none fits is an error, so that a new
// one is placed by decision. A nil list means all.
var layerRules = []struct {
	under string
	may   []string
}{
	{".", []string{}}, // the specifications beside go.mod, embedded
	{"broker", []string{}},
	{"broker/brokertest", []string{"broker"}},
	{"broker/memory", []string{"broker"}},
	{"broker/rabbitmq", []string{"broker"}},
	{"broker/rabbitmq/rabbittest", []string{}},
	{"broker/rabbitmq/rabbittest/cmd", []string{"broker/rabbitmq/rabbittest"}},
	{"transport", []string{"broker", "transport/..."}},
	{"api", []string{"broker", "transport", "api/..."}},
	{"web", []string{"web/..."}},
	{"cmd", nil},
}

// layerOwners say who alone may import a module of others: the packages under these paths.
var layerOwners = map[string][]string{
	layerAMQP:      {"broker/rabbitmq", "cmd/bench", "cmd/conformance", "cmd/faults"},
	layerWebSocket: {"transport", "cmd"},
}

// layerTools are programs that may use test packages although they are not tests.
var layerTools = []string{"cmd/bench", "cmd/conformance", "cmd/faults", "broker/rabbitmq/rabbittest/cmd"}

// TestPackagesImportOnlyTheLayersBelowThem holds the tree against the rules.
func TestPackagesImportOnlyTheLayersBelowThem(t *testing.T) {
	packages := listLayerPackages(t)
	if len(packages) == 0 {
		t.Fatal("go list found no packages")
	}
	for _, p := range packages {
		for _, fault := range layerFaults(p) {
			t.Error(fault)
		}
	}
}

// TestLayerRulesNoticeEachKindOfBreach proves that the test above can fail.
func TestLayerRulesNoticeEachKindOfBreach(t *testing.T) {
	ours := func(p string) string { return layerModule + "/" + p }
	for _, c := range []struct {
		name, importer, imported string
		want                     string // part of the fault; empty when the import is fine
	}{
		{"core imports net/http", "broker", "net/http", "net/http"},
		{"core imports a module", "broker", "example.org/x", "standard library"},
		{"core imports an adapter", "broker", ours("broker/memory"), "broker/memory"},
		{"core imports the standard library", "broker", "container/list", ""},
		{"adapter imports the core", "broker/rabbitmq", ours("broker"), ""},
		{"adapter imports the transport", "broker/memory", ours("transport"), "transport"},
		{"transport imports the api", "transport", ours("api"), "api"},
		{"transport imports an adapter", "transport", ours("broker/rabbitmq"), "broker/rabbitmq"},
		{"api imports core", "api", ours("broker"), ""},
		{"api imports a part of itself", "api", ours("api/identity"), ""},
		{"part of api imports an adapter", "api/identity", ours("broker/memory"), "broker/memory"},
		{"api imports web", "api", ours("web"), "web"},
		{"web imports core", "web", ours("broker"), "broker"},
		{"command imports anything", "cmd/warren", ours("web"), ""},
		{"memory imports AMQP", "broker/memory", layerAMQP, "amqp091-go"},
		{"rabbitmq imports AMQP", "broker/rabbitmq", layerAMQP, ""},
		{"gateway imports AMQP", "cmd/warren", layerAMQP, "amqp091-go"},
		{"bench imports AMQP", "cmd/bench", layerAMQP, ""},
		{"api imports WebSocket", "api", layerWebSocket, "coder/websocket"},
		{"client imports WebSocket", "cmd/warren", layerWebSocket + "/wsjson", ""},
		{"gateway imports a test package", "cmd/warren", ours("broker/brokertest"), "brokertest"},
		{"bench imports a test package", "cmd/bench", ours("broker/rabbitmq/rabbittest"), ""},
		{"core imports the specifications", "broker", layerModule, "none of our packages"},
		{"command imports the specifications", "cmd/warren", layerModule, ""},
		{"unplaced package", "metrics", "fmt", "no layer"},
		{"package named util", "api/util", "fmt", "util"},
		{"similar name is another package", "webhook", "fmt", "no layer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults := layerFaults(layerPackage{
				ImportPath: ours(c.importer),
				Name:       path.Base(c.importer),
				Imports:    []string{c.imported},
			})
			if c.want == "" && len(faults) > 0 {
				t.Errorf("allowed, but: %v", faults)
			}
			if c.want != "" && (len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), c.want)) {
				t.Errorf("want a fault about %q, got %v", c.want, faults)
			}
		})
	}
}

// TestCoreWithNetHTTPBelowIsNoticed covers what comes along with an import.
func TestCoreWithNetHTTPBelowIsNoticed(t *testing.T) {
	faults := layerFaults(layerPackage{
		ImportPath: layerModule + "/broker",
		Name:       "broker",
		Imports:    []string{"expvar"},
		Deps:       []string{"expvar", "net/http"},
	})
	if len(faults) != 1 || !strings.Contains(faults[0], "net/http") {
		t.Errorf("want one fault about net/http, got %v", faults)
	}
}

// layerFaults answers how a package breaks the rules.
func layerFaults(p layerPackage) []string {
	var faults []string
	self := p.ImportPath
	if ours, ok := layerOurs(p.ImportPath); ok {
		self = ours
	}
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s: ", p.ImportPath)+fmt.Sprintf(format, args...))
	}
	for _, name := range []string{"util", "utils", "common", "helpers", "misc"} {
		if p.Name == name || path.Base(self) == name {
			fault("name %q says nothing; name the package after what it provides", name)
		}
	}
	may, placed := layerMay(self)
	if !placed {
		fault("no layer rule places this package; add one to layerRules in broker/layers_test.go, to depguard and to the design")
	}
	for _, imported := range p.Imports {
		if other, ok := layerOurs(imported); ok {
			faults = append(faults, layerOursFaults(p, self, other, may)...)
			continue
		}
		if owners := layerOwnersOf(imported); owners != nil && !layerUnderAny(self, owners) {
			fault("imports %s; only %s may", imported, strings.Join(owners, ", "))
		}
		if self == "broker" && layerIsModule(imported) {
			fault("imports %s; the core uses the standard library alone", imported)
		}
	}
	if self == "broker" && (slices.Contains(p.Imports, "net/http") || slices.Contains(p.Deps, "net/http")) {
		fault("imports net/http, itself or by way of another package; the core knows no transport")
	}
	return faults
}

// layerOursFaults checks an import of one of our packages.
func layerOursFaults(p layerPackage, self, other string, may []string) []string {
	isTestPackage := strings.HasSuffix(path.Base(other), "test")
	switch {
	case isTestPackage && !strings.HasSuffix(p.Name, "test") && !layerUnderAny(self, layerTools):
		return []string{fmt.Sprintf("%s: imports %s, which is for tests", p.ImportPath, other)}
	case may != nil && !layerAllows(may, other):
		allowed := "none of our packages"
		if len(may) > 0 {
			allowed = "only " + strings.Join(may, ", ")
		}
		return []string{fmt.Sprintf("%s: imports %s; it may import %s", p.ImportPath, other, allowed)}
	}
	return nil
}

// layerOurs answers the path of one of our packages relative to the module; the package beside go.mod is ".".
func layerOurs(imported string) (string, bool) {
	if imported == layerModule {
		return ".", true
	}
	return strings.CutPrefix(imported, layerModule+"/")
}

// layerOwnersOf answers who alone may import a package of others, or nil when everybody may.
func layerOwnersOf(imported string) []string {
	for module, owners := range layerOwners {
		if layerUnder(imported, module) {
			return owners
		}
	}
	return nil
}

// layerMay answers the rule of the longest path that fits, and whether there is one.
func layerMay(self string) (may []string, placed bool) {
	longest := ""
	for _, rule := range layerRules {
		if layerUnder(self, rule.under) && len(rule.under) > len(longest) {
			longest, may, placed = rule.under, rule.may, true
		}
	}
	return may, placed
}

// layerAllows tells whether a rule's list names a package.
func layerAllows(may []string, other string) bool {
	return slices.ContainsFunc(may, func(entry string) bool {
		below, whole := strings.CutSuffix(entry, "/...")
		return other == entry || whole && layerUnder(other, below)
	})
}

// layerUnder tells whether p is the path or below it.
func layerUnder(p, parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") }

func layerUnderAny(p string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return layerUnder(p, parent) })
}

// layerIsModule tells whether an import path is outside of the standard library, whose first elements have no dot.
func layerIsModule(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".")
}

// listLayerPackages asks the go command about all packages of the module. Packages that do not compile are checked by
// their imports all the same.
func listLayerPackages(t *testing.T) []layerPackage {
	t.Helper()
	readLayerTree(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Name,Imports,Deps", layerModule+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var packages []layerPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p layerPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("decoding what go list says: %v", err)
		}
		packages = append(packages, p)
	}
}

// readLayerTree reads the module's directories, so that go test, which remembers what a test opened but not what a command
// started by it did, runs this one again when a file has changed.
func readLayerTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(_ string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules" || entry.Name() == "bin"):
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
