package memory_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/memory"
)

// demoMinute runs the demo for a minute of a bubble and returns what it published.
func demoMinute(t *testing.T, seed uint64) (messages []*broker.Delivery) {
	t.Helper()
	b := memory.New(memory.Options{Prefetch: 1000})
	if err := b.Declare(memory.DemoBuilds, "topic"); err != nil {
		t.Fatal(err)
	}
	if err := b.Declare(memory.DemoDeploys, "fanout"); err != nil {
		t.Fatal(err)
	}
	q := open(t, b, binding(t, memory.DemoBuilds, "#", nil), binding(t, memory.DemoDeploys, "", nil))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := memory.Demo(ctx, b, memory.DemoOptions{Seed: seed}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // All is delivered.
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for e := range q.Events() {
		d, ok := e.(*broker.Delivery)
		if !ok {
			t.Fatalf("got %T", e)
		}
		messages = append(messages, d)
	}
	return messages
}

var (
	buildKey = regexp.MustCompile(`^(linux|darwin|windows)\.(amd64|arm64)\.[a-z]+\.(queued|started|passed|failed|canceled)$`)
	uuid     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
)

// checkDemoMessage checks that a message's parts tell the same thing.
func checkDemoMessage(t *testing.T, m *broker.Delivery) {
	t.Helper()
	p := m.Properties
	if !uuid.MatchString(p.MessageID) || p.AppID == "" || p.Timestamp == 0 || !p.HasTimestamp || len(p.Headers) == 0 {
		t.Errorf("properties %+v", p)
	}
	var payload struct{ OS, Arch, Project, State, Environment string }
	if err := json.Unmarshal(m.Body, &payload); err != nil {
		t.Fatalf("%s: %v", m.Body, err)
	}
	key, typ := payload.Environment+"."+payload.Project, "deploy."+payload.State
	if m.Exchange == memory.DemoBuilds {
		key = strings.Join([]string{payload.OS, payload.Arch, payload.Project, payload.State}, ".")
		typ = "build." + payload.State
		if !buildKey.MatchString(m.RoutingKey) {
			t.Errorf("key %q", m.RoutingKey)
		}
	}
	if m.RoutingKey != key || p.Type != typ {
		t.Errorf("key %q and type %q of %s", m.RoutingKey, p.Type, m.Body)
	}
}

func TestDemoPublishesLifelikeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := demoMinute(t, 1)
		if n := len(messages); n < 180 || n > 300 {
			t.Errorf("%d events in a minute, want about 240", n)
		}
		exchanges := make(map[string]int)
		ids := make(map[string]bool)
		for _, m := range messages {
			exchanges[m.Exchange]++
			if ids[m.Properties.MessageID] {
				t.Errorf("message id %s comes twice", m.Properties.MessageID)
			}
			ids[m.Properties.MessageID] = true
			checkDemoMessage(t, m)
		}
		if exchanges[memory.DemoBuilds] < 100 || exchanges[memory.DemoDeploys] < 10 {
			t.Errorf("events by exchange: %v", exchanges)
		}
	})
}

func TestDemoRepeatsItselfBySeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		story := func(seed uint64) string {
			var sb strings.Builder
			for _, m := range demoMinute(t, seed) {
				sb.WriteString(m.Properties.MessageID + m.RoutingKey + string(m.Body) + "\n")
			}
			return sb.String()
		}
		told := story(7)
		if story(7) != told {
			t.Error("one seed tells two stories")
		}
		if story(8) == told {
			t.Error("two seeds tell one story")
		}
	})
}

func TestDemoOutlivesTheDeletionOfItsExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(memory.Options{Prefetch: 1000})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- memory.Demo(ctx, b, memory.DemoOptions{}) }()
		synctest.Wait()
		q := open(t, b, binding(t, memory.DemoBuilds, "#", nil))
		if err := b.Delete(memory.DemoBuilds); err != nil {
			t.Fatal(err)
		}
		for {
			if _, back := (<-q.Events()).(*broker.BindingsBack); back {
				break
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := memory.Demo(t.Context(), b, memory.DemoOptions{}); broker.CodeOf(err) != broker.CodeBrokerUnavailable {
			t.Errorf("on a closed broker: %v", err)
		}
	})
}

func TestDemoRefusesAnExchangeOfAnotherType(t *testing.T) {
	b := newBroker(t, memory.Options{})
	declare(t, b, memory.DemoDeploys, "topic")
	if err := memory.Demo(t.Context(), b, memory.DemoOptions{}); !errors.Is(err, memory.ErrTypeConflict) {
		t.Errorf("got %v", err)
	}
}
