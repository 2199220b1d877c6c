package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// announced returns the greeting of a gateway with the flags, and what it logs.
func announced(t *testing.T, args ...string) (greeting, logs string) {
	t.Helper()
	var out, log bytes.Buffer
	cfg, err := serveConfig(process{args: append([]string{"--admin-listen", ""}, args...), stdout: &out, stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	logger, err := newLogger(&log, cfg)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGateway(t.Context(), *cfg, slog.New(logger.Handler()))
	if err != nil {
		t.Fatal(err)
	}
	g.announce(process{stdout: &out})
	if err := g.close(t.Context()); err != nil {
		t.Error(err)
	}
	return out.String(), log.String()
}

func TestGreetingSuggestsWhatWorks(t *testing.T) {
	key := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	const broker = "amqp://warren:s3cret@127.0.0.1:1/" // nobody is there, and nobody is needed
	cases := []struct {
		name string
		args []string
		want []string
		not  string
	}{
		{"memory", []string{"--listen", "127.0.0.1:0"}, []string{"http://127.0.0.1:", "exchange=amq.topic'", "publish  curl"}, "$TOKEN"},
		{"demo", []string{"--listen", "127.0.0.1:0", "--demo"}, []string{"exchange=builds'", "'builds=#'"}, "$TOKEN"},
		{"all addresses", []string{"--listen", ":0", "--anonymous"}, []string{"http://localhost:"}, "[::]"},
		{
			"named exchange",
			[]string{"--listen", "127.0.0.1:0", "--broker", broker, "--exchange", "orders=topic", "--exchange", "builds=topic"},
			[]string{"amqp://warren:xxxxx@127.0.0.1:1/", "exchange=orders'", "'orders=#'"},
			"publish",
		},
		{
			"exchange whose name no URL can have as it is",
			[]string{"--listen", "127.0.0.1:0", "--broker", broker, "--exchange", "A & B #1=topic"},
			[]string{"exchange=A+%26+B+%231'", "'A & B #1=#'"},
			"publish",
		},
		{"no exchange", []string{"--listen", "127.0.0.1:0", "--broker", broker}, []string{"exchange=EXCHANGE'"}, "amq.topic"},
		{
			"tokens",
			[]string{"--listen", "0.0.0.0:0", "--jwt-key", key, "--jwt-hs256"},
			[]string{`curl -N -H "Authorization: Bearer $TOKEN"`, `--token "$TOKEN"`, `curl -s -H "Authorization: Bearer $TOKEN"`},
			"0.0.0.0",
		},
		{"public URL", []string{"--listen", "127.0.0.1:0", "--public-url", "https://e.example.org/"}, []string{"open     https://e.example.org/\n"}, "org//"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			greeting, logs := announced(t, c.args...)
			for _, want := range c.want {
				if !strings.Contains(greeting, want) {
					t.Errorf("no %q in\n%s", want, greeting)
				}
			}
			if strings.Contains(greeting, c.not) || strings.Contains(greeting+logs, "s3cret") {
				t.Errorf("%q or a password is in\n%s%s", c.not, greeting, logs)
			}
		})
	}
}

// TestGreetingSaysWhichBuildItIs: what go install has built knows its version, though no linker was told.
func TestGreetingSaysWhichBuildItIs(t *testing.T) {
	before := thisBuild
	t.Cleanup(func() { thisBuild = before })
	thisBuild = func() build { return build{version: "v9.8.7"} }
	greeting, logs := announced(t, "--listen", "127.0.0.1:0")
	if !strings.Contains(greeting, "warren v9.8.7 listens") || !strings.Contains(logs, `"version":"v9.8.7"`) {
		t.Errorf("another version is in\n%s%s", greeting, logs)
	}
}

func TestDurationsAreSecondsInJSON(t *testing.T) {
	var log bytes.Buffer
	cfg := defaultConfig()
	logger, err := newLogger(&log, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	logger.Info("stopping", slog.Duration("drain", cfg.Drain))
	if !strings.Contains(log.String(), `"drain":8}`) {
		t.Error(log.String())
	}
}
