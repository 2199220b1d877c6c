package readers

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

func TestMain(m *testing.M) { rabbittest.Main(m) }

func TestAllReadersOfMessagesInMemoryAgree(t *testing.T) {
	source, publish := inMemory(t)
	agree(t, source, publish)
}

func TestAllReadersOfMessagesFromRabbitMQAgree(t *testing.T) {
	source, publish := onRabbitMQ(t, rabbittest.VHost(t))
	agree(t, source, publish)
}

// agree publishes the corpus and has all read it.
func agree(t *testing.T, source broker.Source, publish publish) {
	t.Helper()
	base := serve(t, source)
	paths := map[string]string{"raw": subscribe(t, base, "raw"), "auto": subscribe(t, base, "auto")}
	messages := corpus()
	for _, m := range messages {
		publish(t, m)
	}
	all := readers(base, len(messages), slices.Collect(maps.Values(paths)))
	for payload, path := range paths {
		var first []frame
		for _, r := range all {
			t.Run(payload+" "+r.name, func(t *testing.T) {
				got := r.read(t, base, path, len(messages))
				if len(got) != len(messages) {
					t.Fatalf("%d messages were read of %d", len(got), len(messages))
				}
				if first == nil {
					first = got
					asSpecified(t, got)
				}
				for i, m := range messages {
					m.check(t, payload, got[i])
					m.same(t, got[i], first[i])
				}
			})
		}
	}
}

// asSpecified holds frames to asyncapi.yaml.
func asSpecified(t *testing.T, frames []frame) {
	t.Helper()
	spec, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := spec.Frame(contract.SSE, []byte(f.Data)); err != nil {
			t.Errorf("%.500v", err)
		}
	}
}

// same holds a frame to the one that the first reader got.
func (m message) same(t *testing.T, got, first frame) {
	t.Helper()
	if got.Data != first.Data {
		t.Errorf("%s: read as %.200q, by the first reader as %.200q", m.name, got.Data, first.Data)
	}
	if got.ID != first.ID {
		t.Errorf("%s: the id is %q, for the first reader %q", m.name, got.ID, first.ID)
	}
}

// content is what a frame says of its message.
type content struct {
	ID         string
	Exchange   string
	RoutingKey string `json:"routing_key"`
	Properties struct {
		Headers   json.RawMessage
		Timestamp *uint64
	}
	Payload  json.RawMessage
	Encoding string `json:"payload_encoding"`
}

// check holds a frame to what was published.
func (m message) check(t *testing.T, payload string, f frame) {
	t.Helper()
	var c content
	if err := json.Unmarshal([]byte(f.Data), &c); err != nil {
		t.Errorf("%s: %v", m.name, err)
		return
	}
	if c.ID != f.ID || c.Exchange != exchange {
		t.Errorf("%s: id %q and %q, exchange %q", m.name, c.ID, f.ID, c.Exchange)
	}
	// Go's []rune has U+FFFD for each byte that is not UTF-8, as the contract has it.
	if key := string([]rune(m.key)); c.RoutingKey != key {
		t.Errorf("%s: routing key %q, want %q", m.name, c.RoutingKey, key)
	}
	if m.properties.HasTimestamp && (c.Properties.Timestamp == nil || *c.Properties.Timestamp != m.properties.Timestamp) {
		t.Errorf("%s: timestamp %v", m.name, c.Properties.Timestamp)
	}
	if m.headers != "" && !sameJSON(t, []byte(m.headers), c.Properties.Headers) {
		t.Errorf("%s: headers %s, want %s", m.name, c.Properties.Headers, m.headers)
	}
	if err := m.sameBody(t, payload, c); err != nil {
		t.Errorf("%s: %v", m.name, err)
	}
}

func (m message) sameBody(t *testing.T, payload string, c content) error {
	t.Helper()
	if c.Encoding == "json" {
		if payload == "raw" {
			return fmt.Errorf("inlined with payload=raw")
		}
		if !sameJSON(t, m.body, c.Payload) {
			return fmt.Errorf("payload %.200s, published %.200s", c.Payload, m.body)
		}
		return nil
	}
	var s string
	if err := json.Unmarshal(c.Payload, &s); err != nil {
		return err
	}
	got := []byte(s)
	if c.Encoding == "base64" {
		var err error
		if got, err = base64.StdEncoding.DecodeString(s); err != nil {
			return err
		}
	}
	if !bytes.Equal(got, m.body) {
		return fmt.Errorf("%s %.200q, published %.200q", c.Encoding, got, m.body)
	}
	return nil
}

// sameJSON compares two JSON texts as values, numbers as they are written.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var values [2]any
	for i, text := range [][]byte{a, b} {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&values[i]); err != nil {
			t.Errorf("%.100s: %v", text, err)
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}
