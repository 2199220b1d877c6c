package api_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

func TestLogHasNoSecretsAndOneLinePerKindOfRefusal(t *testing.T) {
	i := newIssuer(t)
	var log brokertest.Buffer
	var mu sync.Mutex
	refused := map[broker.Code]int{}
	g := newGateway(t, i.use, func(s *setup) {
		s.options.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		s.options.OnRefusal = func(code broker.Code) {
			mu.Lock()
			refused[code]++
			mu.Unlock()
		}
	})
	g.declare("orders", "topic")
	alice, mallory := i.token("alice", time.Hour, "orders=#"), i.token("mallory", time.Hour)
	sub := g.create(`{}`, bearer(alice)...)
	for range 20 {
		g.do("GET", sub.Links["self"], "", bearer(mallory)...)
		g.do("GET", sub.Links["sse"]+"?access_token="+mallory+"x", "")
		g.do("GET", "/v1/sse?exchange=orders&access_token="+mallory, "")
	}
	s := g.socket("/v1/ws?exchange=orders")
	s.send(`{"type":"auth","token":"` + mallory + `"}`)
	s.expectBye(4403, "forbidden_binding")
	text := log.String()
	for _, secret := range []string{sub.ID, alice, mallory, mallory[len(mallory)-20:]} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %s:\n%s", secret, text)
		}
	}
	for _, code := range []string{"code=forbidden ", "code=unauthorized ", "code=forbidden_binding "} {
		if n := strings.Count(text, code); n != 1 {
			t.Errorf("%d lines with %s:\n%s", n, code, text)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if refused[broker.CodeForbidden] != 20 || refused[broker.CodeUnauthorized] != 20 || refused[broker.CodeForbiddenBinding] != 21 {
		t.Errorf("counted %v", refused)
	}
}
