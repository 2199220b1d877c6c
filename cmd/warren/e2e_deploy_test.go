package main

import (
	"fmt"
	"os"
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
