package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
)

// deployFile reads the documents of a YAML file of docs/deploy.
func deployFile(t *testing.T, name string) []map[string]any {
	t.Helper()
	var documents []map[string]any
	for text := range strings.SplitSeq(page(t, "docs/deploy/"+name), "\n---\n") {
		document, err := yaml.Parser().Unmarshal([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		documents = append(documents, document)
	}
	return documents
}

// at walks into a document: names of members, and indexes.
func at(t *testing.T, document any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch key := step.(type) {
		case string:
			document = document.(map[string]any)[key]
		case int:
			document = document.([]any)[key]
		}
		if document == nil {
			t.Fatalf("there is no %v", path)
		}
	}
	return document
}

func TestComposeStartsTheGatewayWithSettingsThatItTakes(t *testing.T) {
	service := at(t, deployFile(t, "compose.yaml")[0], "services", "warren")
	var args, env []string
	for _, arg := range at(t, service, "command").([]any)[1:] { // after serve
		args = append(args, arg.(string))
	}
	for name, value := range at(t, service, "environment").(map[string]any) {
		env = append(env, fmt.Sprintf("%s=%v", name, value))
	}
	printed, err := configOf(t, append(env, "WARREN_LISTEN=0.0.0.0:8080"), args...) // as the image has it
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"broker: amqp://warren:xxxxx@rabbitmq:5672/\n", "admin_listen: 0.0.0.0:9090\n", "anonymous: true\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in\n%s", want, printed)
		}
	}
}

func TestComposeMountsFilesThatAreThere(t *testing.T) {
	mounted := map[string]string{}
	for name, service := range at(t, deployFile(t, "compose.yaml")[0], "services").(map[string]any) {
		volumes, _ := service.(map[string]any)["volumes"].([]any)
		for _, volume := range volumes {
			from, rest, _ := strings.Cut(volume.(string), ":")
			into, mode, _ := strings.Cut(rest, ":")
			if page(t, "docs/deploy/"+from) == "" || mode != "ro" {
				t.Errorf("%s mounts %s", name, volume)
			}
			mounted[into] = from
		}
	}
	provider := at(t, deployFile(t, "grafana-dashboards.yaml")[0], "providers", 0, "options", "path").(string)
	if mounted[provider+"/warren.json"] != "./grafana-dashboard.json" {
		t.Errorf("Grafana looks for dashboards in %s: %v", provider, mounted)
	}
	source := at(t, deployFile(t, "grafana-datasources.yaml")[0], "datasources", 0)
	if at(t, source, "url") != "http://prometheus:9090" || at(t, source, "isDefault") != true {
		t.Errorf("Grafana asks %v", source)
	}
}

// The image is built from what .dockerignore lets through, and with the Go that go.mod asks for.
func TestImageIsBuiltFromAllThatTheBinaryNeeds(t *testing.T) {
	ignored := dockerIgnores(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		`{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`, ".")
	cmd.Env = append(os.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"go.mod", "go.sum"}
	for name := range strings.FieldsSeq(string(out)) {
		relative, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.ToSlash(relative))
	}
	if len(files) < 100 {
		t.Errorf("the binary is built from %d files only", len(files))
	}
	for _, name := range files {
		if ignored(name) {
			t.Errorf(".dockerignore keeps %s out", name)
		}
	}
	if !ignored("web/node_modules/ws/index.js") || !ignored(".git/config") || !ignored("README.md") {
		t.Error(".dockerignore keeps nothing out")
	}
	_, version, _ := strings.Cut(page(t, "go.mod"), "\ngo ")
	minor := strings.Join(strings.SplitN(strings.Fields(version)[0], ".", 3)[:2], ".")
	if image := "golang:" + minor + "-"; !strings.Contains(page(t, "Dockerfile"), image) {
		t.Errorf("the Dockerfile does not build with %s", image)
	}
}

// dockerIgnores reads .dockerignore: the last line that matches a file, or a directory above it, decides.
func dockerIgnores(t *testing.T) func(name string) bool {
	t.Helper()
	var lines []string
	for line := range strings.Lines(page(t, ".dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return func(name string) bool {
		ignored := false
		for _, line := range lines {
			pattern, kept := strings.CutPrefix(line, "!")
			if dockerMatches(t, pattern, name) {
				ignored = !kept
			}
		}
		return ignored
	}
}

// dockerMatches tells whether a pattern, of the kinds that are used, matches a file or a directory above it.
func dockerMatches(t *testing.T, pattern, name string) bool {
	t.Helper()
	anywhere, below := strings.CutPrefix(pattern, "**/")
	steps := strings.Split(name, "/")
	for i := range steps {
		candidate := strings.Join(steps[:i+1], "/")
		if below {
			candidate = steps[i]
		}
		matched, err := path.Match(anywhere, candidate)
		if err != nil {
			t.Fatal(err)
		}
		if matched {
			return true
		}
	}
	return false
}

func TestKubernetesMountsSettingsThatTheGatewayTakes(t *testing.T) {
	var settings, image string
	for _, document := range deployFile(t, "kubernetes.yaml") {
		switch document["kind"] {
		case "ConfigMap":
			settings = at(t, document, "data", "warren.yaml").(string)
		case "Deployment":
			// A Service "warren" would set WARREN_PORT and such in pods that are made after it.
			if at(t, document, "spec", "template", "spec", "enableServiceLinks") != false {
				t.Error("the pods get variables of services")
			}
			container := at(t, document, "spec", "template", "spec", "containers", 0)
			image = at(t, container, "image").(string)
			for probe, path := range map[string]string{"livenessProbe": "/livez", "readinessProbe": "/readyz"} {
				if got := at(t, container, probe, "httpGet", "path"); got != path {
					t.Errorf("the %s asks %v", probe, got)
				}
			}
		}
	}
	file := filepath.Join(t.TempDir(), "warren.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"WARREN_BROKER=amqp://warren:secret@rabbitmq.rabbitmq:5672/", "WARREN_LISTEN=0.0.0.0:8080"}
	if _, err := configOf(t, env, "--config", file); err != nil || image == "" {
		t.Errorf("image %q: %v", image, err)
	}
}

func TestSystemdGivesTheGatewayTimeToDrain(t *testing.T) {
	unit := page(t, "docs/deploy/warren.service")
	var seconds float64
	_, rest, _ := strings.Cut(unit, "\nTimeoutStopSec=")
	if _, err := fmt.Sscan(rest, &seconds); err != nil {
		t.Fatal(err)
	}
	if drain := defaultConfig().Drain + stopGrace; seconds <= drain.Seconds() {
		t.Errorf("TimeoutStopSec=%v is not above %v", seconds, drain)
	}
}
