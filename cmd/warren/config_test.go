package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/warren-gateway/warren/broker"
)

// configOf runs serve --print-config and returns what it prints.
func configOf(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	var out, log bytes.Buffer
	err := run(context.Background(), process{
		args: append([]string{"serve", "--print-config"}, args...), env: env, stdout: &out, stderr: &log,
	})
	return out.String(), err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "warren.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := writeFile(t, "log_frames: 1\nprefetch: 2\nheartbeat: 3s\nallow_exchange: [a, b]\n")
	got, err := configOf(t, []string{"WARREN_PREFETCH=20", "WARREN_HEARTBEAT=30s", "WARREN_DENY_EXCHANGE=x, y", "OTHER=1"},
		"--config", file, "--heartbeat", "5m", "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "::1/128")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"log_frames: 1\n", "prefetch: 20\n", "heartbeat: 5m0s\n", "max_bindings: 64\n",
		"allow_exchange:\n    - a\n    - b\n", "deny_exchange:\n    - x\n    - \"y\"\n",
		"trusted_proxy:\n    - 10.0.0.0/8\n    - ::1/128\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
}

func TestValuesAreReadWhereverTheyStand(t *testing.T) {
	const want = "max_streams: 7\ncreate_rate: 2.5\ncreate_burst_per_caller: 3\nrequest_rate_per_caller: 4\nheartbeat: 2m0s\ndemo: true\nallow_exchange: [o, p]\n"
	args := []string{
		"--max-streams", "7", "--create-rate", "2.5", "--create-burst-per-caller", "3", "--request-rate-per-caller", "4", "--heartbeat", "2m", "--demo",
		"--allow-exchange", "o", "--allow-exchange", "p",
	}
	env := []string{
		"WARREN_MAX_STREAMS=7", "WARREN_CREATE_RATE=2.5", "WARREN_CREATE_BURST_PER_CALLER=3", "WARREN_REQUEST_RATE_PER_CALLER=4", "WARREN_HEARTBEAT=2m",
		"WARREN_DEMO=1", "WARREN_ALLOW_EXCHANGE=o,p",
	}
	byFile, err := configOf(t, nil, "--config", writeFile(t, want))
	if err != nil {
		t.Fatal(err)
	}
	for place, got := range map[string]func() (string, error){
		"flags":       func() (string, error) { return configOf(t, nil, args...) },
		"environment": func() (string, error) { return configOf(t, env) },
	} {
		if got, err := got(); err != nil || got != byFile {
			t.Errorf("by %s: %v\n%s\nby the file\n%s", place, err, got, byFile)
		}
	}
}

func TestPrintedConfigurationCanBeReadBack(t *testing.T) {
	first, err := configOf(t, nil, "--prefetch", "7", "--allow-exchange", "o*", "--create-rate", "2.5")
	if err != nil {
		t.Fatal(err)
	}
	second, err := configOf(t, []string{"WARREN_CONFIG=" + writeFile(t, first)})
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Errorf("printed\n%s\nread back\n%s", first, second)
	}
}

func TestPasswordsAreNotPrinted(t *testing.T) {
	for _, url := range []string{
		"amqp://user:s3cret@127.0.0.1/v", "amqps://user:s3cret@127.0.0.1/v?heartbeat=10", "amqp://user:12%23s3cret@127.0.0.1/v",
	} {
		got, err := configOf(t, nil, "--broker", url)
		if err != nil || strings.Contains(got, "s3cret") || !strings.Contains(got, "://user:xxxxx@127.0.0.1/v\n") {
			t.Errorf("%s: %v\n%s", url, err, got)
		}
	}
	// Passwords with #, / or ? as they are: most of these are URLs, but of something else.
	for _, url := range []string{
		"amqp://user:s3cret#x@127.0.0.1/", "amqp://user:12#s3cret@127.0.0.1/", "amqp://user:12/s3cret@127.0.0.1/",
		"amqp://user:12?s3cret@127.0.0.1/", "amqp://user:12@C/s3cret@127.0.0.1/", "amqp://user:12@C?s3cret@127.0.0.1/",
		"amqp:user:s3cret@127.0.0.1", "amqp:///user:s3cret@127.0.0.1", "amqp:/user:s3cret@127.0.0.1", "amqp://user:s3cret@/v",
		"user:s3cret@127.0.0.1", "memory:s3cret", "memory://user:s3cret@", "memory://?s3cret", "memory://#s3cret",
	} {
		got, err := configOf(t, nil, "--broker", url)
		if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(got+maskURL(url), "s3cret") {
			t.Errorf("%s: %v\n%s\n%s", url, err, got, maskURL(url))
		}
	}
	got, err := configOf(t, nil, "--config", writeFile(t, "broker: {url: s3cret}\n"))
	if err == nil || strings.Contains(got+err.Error(), "s3cret") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestSecretsOfTheKeySetsAddressAreNotPrinted(t *testing.T) {
	got, err := configOf(t, nil, "--jwks-url", "https://user:s3cret@id.example.org/keys?key=s3cret")
	if err != nil || strings.Contains(got, "s3cret") || !strings.Contains(got, "https://user:xxxxx@id.example.org/keys?") {
		t.Errorf("%v\n%s", err, got)
	}
	got, err = configOf(t, nil, "--jwks-url", "https://s3cret@id.example.org/keys#s3cret")
	if err != nil || strings.Contains(got, "s3cret") || !strings.Contains(got, "https://xxxxx@id.example.org/keys#") {
		t.Errorf("%v\n%s", err, got)
	}
	got, err = configOf(t, nil, "--jwks-url", "ftp://user:s3cret@id.example.org/keys?key=s3cret")
	if err == nil || strings.Contains(got+err.Error(), "s3cret") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestOriginsHaveNoSecretsInThem(t *testing.T) {
	for _, flag := range []string{"--public-url", "--allow-origin"} {
		for _, url := range []string{
			"http://user:s3cret@a.example", "http://s3cret@a.example/", "http://a.example/?x=s3cret", "http://a.example?", "http://a.example#s3cret",
			"user:s3cret@a.example", "http:user:s3cret@a.example", "http://user:12/s3cret@a.example", "http://user:12#s3cret@a.example",
		} {
			got, err := configOf(t, nil, flag, url)
			if err == nil || !strings.Contains(err.Error(), flag) || strings.Contains(got+err.Error(), "s3cret") {
				t.Errorf("%s %s: %v\n%s", flag, url, err, got)
			}
		}
	}
}

func TestSecretsInTheWrongPlaceAreNotPrinted(t *testing.T) {
	for _, url := range []string{
		"amqp://user:s3cret@127.0.0.1/v", "amqp://user:12/s3cret@127.0.0.1/v", "broker=amqp://user:s3cret@127.0.0.1/v", "user:s3cret@127.0.0.1",
		"https://s3cret@id.example.org/keys", "https://id.example.org/keys?key=s3cret",
	} {
		got, err := configOf(t, nil, "--config", writeFile(t, `"`+url+`": x`+"\n"))
		if err == nil || !strings.Contains(err.Error(), "unknown key") || strings.Contains(got+err.Error(), "s3cret") {
			t.Errorf("as a key, %s: %v\n%s", url, err, got)
		}
		got, err = configOf(t, nil, url)
		if err == nil || !strings.Contains(err.Error(), "flags only") || strings.Contains(got+err.Error(), "s3cret") {
			t.Errorf("as an argument, %s: %v\n%s", url, err, got)
		}
	}
}

func TestCoreGetsTheBoundsOfTheConfiguration(t *testing.T) {
	cfg := defaultConfig()
	want := broker.DefaultLimits()
	want.FormerBindings = 0
	if got := cfg.coreLimits(); got != want {
		t.Errorf("by default %+v, want %+v", got, want)
	}
	cfg.JWTKey, cfg.MaxBindings, cfg.QueueMaxLength, cfg.Prefetch = "key", 5, 100, 7
	if got := cfg.coreLimits(); got.FormerBindings != 10 || got.QueueBacklog != 107 || got.MaxBindings != 5 {
		t.Errorf("with tokens %+v", got)
	}
	cfg.CapabilityAttach = true
	if got := cfg.coreLimits(); got.FormerBindings != 0 {
		t.Errorf("where the id suffices %+v", got)
	}
}

func TestVariablesThatAreNoSettingsAreIgnored(t *testing.T) {
	_, err := configOf(t, []string{
		"WARREN_TOKEN=x", "WARREN_TEST_AMQP_URL=x",
		// What Kubernetes makes of a Service called warren, and Docker of a link.
		"WARREN_SERVICE_HOST=10.0.0.1", "WARREN_SERVICE_PORT=80", "WARREN_SERVICE_PORT_HTTP=80", "WARREN_PORT=tcp://10.0.0.1:80",
		"WARREN_PORT_80_TCP=tcp://10.0.0.1:80", "WARREN_PORT_80_TCP_ADDR=10.0.0.1", "WARREN_PORT_80_TCP_PORT=80", "WARREN_PORT_80_TCP_PROTO=tcp",
		// And of one called warren-admin.
		"WARREN_ADMIN_SERVICE_HOST=10.0.0.2", "WARREN_ADMIN_SERVICE_PORT=9090", "WARREN_ADMIN_PORT=tcp://10.0.0.2:9090",
		"WARREN_ADMIN_PORT_9090_TCP_ADDR=10.0.0.2",
	})
	if err != nil {
		t.Error(err)
	}
	for _, mistake := range []string{"WARREN_PORTS=1", "WARREN_PORT=8123", "WARREN_PORT=", "WARREN_PORT_80=1", "WARREN_ADMIN_PORT=9090"} {
		if _, err := configOf(t, []string{mistake}); err == nil {
			t.Errorf("%s is taken", mistake)
		}
	}
}

func TestListsOfTheEnvironmentReplaceTheDefaults(t *testing.T) {
	got, err := configOf(t, []string{"WARREN_DENY_EXCHANGE="})
	if err != nil || !strings.Contains(got, "deny_exchange: []\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestKeyWithoutAValueKeepsTheDefault(t *testing.T) {
	want, err := configOf(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := configOf(t, nil, "--config", writeFile(t, "allow_exchange:\ndeny_exchange: null\nlog_frames: ~\nlisten:\n"))
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	got, err = configOf(t, nil, "--config", writeFile(t, "deny_exchange: []\n"))
	if err != nil || !strings.Contains(got, "deny_exchange: []\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

// wrongConfig is a configuration that serve does not start with.
type wrongConfig struct {
	name string
	file string
	env  []string
	args []string
	want string // in the error
}

// refuse fails where a configuration is taken, or refused for another reason.
func refuse(t *testing.T, cases []wrongConfig) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.file != "" {
				c.args = append(c.args, "--config", writeFile(t, c.file))
			}
			_, err := configOf(t, c.env, c.args...)
			var exit *exitError
			if !errors.As(err, &exit) || exit.code != 2 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want status 2 and %q", err, c.want)
			}
		})
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	refuse(t, []wrongConfig{
		{name: "unknown key", file: "log_framse: 1\n", want: `unknown key "log_framse"`},
		{name: "key with dashes", file: "log-frames: 1\n", want: `did you mean "log_frames"`},
		{name: "unknown variable", env: []string{"WARREN_LOG_FRAME=1"}, want: "WARREN_LOG_FRAME"},
		{name: "unknown flag", args: []string{"--log-frame", "1"}, want: "log-frame"},
		{name: "argument", args: []string{"x"}, want: "flags only"},
		{name: "no file", args: []string{"--config", "/does/not/exist"}, want: "/does/not/exist"},
		{name: "not YAML", file: "a: [", want: "reading --config"},
		{name: "second document", file: "prefetch: 1\n---\nlog_framse: 1\n", want: "second document"},
		{name: "node's name", args: []string{"--node", strings.Repeat("n", 129)}, want: "--node"},
		{name: "node's name of two lines", file: "node: |\n  n\n", want: "--node"},
		{name: "time to live below AMQP's unit", args: []string{"--queue-ttl", "999us"}, want: "--queue-ttl 999µs"},
		{name: "duration without a unit", file: "heartbeat: 15\n", want: "heartbeat"},
		{name: "text for a number", env: []string{"WARREN_PREFETCH=many"}, want: "WARREN_PREFETCH: want a whole number"},
		{name: "text for a number in the file", file: "prefetch: many\n", want: "warren.yaml: prefetch: want a whole number"},
		{name: "two mistakes", env: []string{"WARREN_PREFETCH=many", "WARREN_DEMO=perhaps"}, want: "WARREN_DEMO: want true or false"},
		{name: "zero", args: []string{"--max-streams", "0"}, want: "--max-streams 0"},
		{name: "negative", args: []string{"--create-rate", "-1"}, want: "--create-rate -1"},
		{name: "no bound", args: []string{"--create-rate", "Inf"}, want: "no bound can be turned off"},
		{name: "no bound in the file", file: "create_rate: .inf\n", want: "no bound can be turned off"},
		{name: "prefetch of AMQP", args: []string{"--prefetch", "70000"}, want: "65535"},
		{name: "open to the world", args: []string{"--listen", ":8080"}, want: "--anonymous"},
		{name: "no port", args: []string{"--listen", "localhost"}, want: "host:port"},
		{name: "half of TLS", args: []string{"--tls-cert", "x"}, want: "go together"},
		{name: "public URL with a path", args: []string{"--public-url", "https://a/b"}, want: "--public-url"},
		{name: "other broker", args: []string{"--broker", "kafka://x"}, want: "kafka"},
		{name: "demo with RabbitMQ", args: []string{"--demo", "--broker", "amqp://x"}, want: "--demo"},
		{name: "exchange without type", args: []string{"--exchange", "orders"}, want: "NAME=TYPE"},
		{name: "exchange type", args: []string{"--exchange", "orders=topc"}, want: `"topc" is no exchange type`},
		{name: "proxy without a network", args: []string{"--trusted-proxy", "1.2.3.4"}, want: `--trusted-proxy "1.2.3.4": want a network`},
		{name: "proxies of half IPv4", args: []string{"--trusted-proxy", "::ffff:10.0.0.0/90"}, want: `--trusted-proxy "::ffff:10.0.0.0/90": want a network`},
		{name: "origin without a scheme", args: []string{"--allow-origin", "app.example.org"}, want: `--allow-origin "app.example.org"`},
		{name: "JWKS without a scheme", args: []string{"--jwks-url", "login.example.org"}, want: "--jwks-url"},
		{name: "two sources of keys", args: []string{"--jwks-url", "https://x", "--jwt-key", "y"}, want: "one of them"},
		{name: "anonymous with tokens", args: []string{"--anonymous", "--jwt-key", "y"}, want: "exclude"},
		{name: "audience without tokens", args: []string{"--jwt-audience", "x"}, want: "need"},
		{name: "linger above its bound", args: []string{"--linger", "1h"}, want: "--max-linger"},
		{name: "linger below a second", args: []string{"--linger", "500ms"}, want: "--linger 500ms: want whole seconds"},
		{name: "half a second of a stream's linger", file: "stream_linger: 2.5s\n", want: "--stream-linger 2.5s: want whole seconds"},
		{name: "longest linger below a second", args: []string{"--max-linger", "700ms"}, want: "--max-linger 700ms: want whole seconds"},
		{name: "nothing allowed", file: "allow_exchange: []\n", want: "--allow-exchange: the list is empty"},
		{name: "nothing allowed by the environment", env: []string{"WARREN_ALLOW_EXCHANGE="}, want: "--allow-exchange: the list is empty"},
		{name: "log level", args: []string{"--log-level", "loud"}, want: "loud"},
		{name: "log format", args: []string{"--log-format", "xml"}, want: "xml"},
	})
}

func TestValuesOfTheWrongTypeAreRefused(t *testing.T) {
	refuse(t, []wrongConfig{
		{name: "fraction for a whole number", file: "log_frames: 4096.7\n", want: "warren.yaml: log_frames: want a whole number"},
		{name: "whole number with a point", file: "memory_budget: 1e9\n", want: "memory_budget: want a whole number"},
		{name: "number beyond all", file: "memory_budget: 18446744073709551615\n", want: "memory_budget: want a whole number"},
		{name: "truth for a number", file: "max_streams: true\n", want: "max_streams: want a whole number"},
		{name: "truth for a rate", file: "create_rate: true\n", want: "create_rate: want a number"},
		{name: "text that reads like a number", file: "prefetch: \"7\"\n", want: "prefetch: want a whole number"},
		{name: "list for a number", file: "prefetch: []\n", want: "prefetch: want a whole number"},
		{name: "number for truth", file: "demo: 1\n", want: "demo: want true or false"},
		{name: "text for truth", file: "demo: \"true\"\n", want: "demo: want true or false"},
		{name: "number for a text", file: "node: 7\n", want: "node: want a text, in quotes"},
		{name: "text for a list", file: "deny_exchange: a,b\n", want: "deny_exchange: want a list of texts"},
		{name: "map for a list", file: "deny_exchange: {}\n", want: "deny_exchange: want a list of texts"},
		{name: "number in a list", file: "deny_exchange: [a, 7]\n", want: "deny_exchange: want a list of texts"},
		{name: "fraction in the environment", env: []string{"WARREN_LOG_FRAMES=4096.7"}, want: "WARREN_LOG_FRAMES: want a whole number"},
	})
}

func TestEveryFieldIsExplained(t *testing.T) {
	cfg := defaultConfig()
	for _, f := range configFields(&cfg) {
		if f.key == "" || f.help == "" || f.group == "" {
			t.Errorf("%+v lacks a key, a group or help", f)
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), process{args: []string{"serve", "--help"}, stdout: &out, stderr: &out}); !errors.Is(err, pflag.ErrHelp) {
		t.Fatal(err)
	}
	cfg := defaultConfig()
	for _, f := range configFields(&cfg) {
		if !strings.Contains(out.String(), "--"+f.flag+"\n") {
			t.Errorf("--%s is not in the help", f.flag)
		}
	}
}
