package main

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// collector receives traces as OTLP over HTTP.
type collector struct {
	t      *testing.T
	server *httptest.Server

	mu      sync.Mutex // guards all below
	service map[string]string
	spans   []*tracepb.Span
}

// startCollector starts one and tells OpenTelemetry of it, as an operator would.
func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t, service: map[string]string{}}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request coltrace.ExportTraceServiceRequest
	unzipped, err := gzip.NewReader(r.Body)
	if err == nil {
		var body []byte
		if body, err = io.ReadAll(unzipped); err == nil {
			err = proto.Unmarshal(body, &request)
		}
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			c.service[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// await waits for so many spans.
func (c *collector) await(n int) []*tracepb.Span {
	c.t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		spans := c.all()
		if len(spans) >= n {
			return spans
		}
		select {
		case <-ticker.C:
		case <-deadline:
			c.t.Fatalf("%d spans, want %d", len(spans), n)
		}
	}
}

func (c *collector) all() []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

const (
	sampledParent   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	unsampledParent = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b8-00"
)

func TestSampledMessagesHaveASpanFromReceiptToFirstWrite(t *testing.T) {
	c := startCollector(t)
	g := startGateway(t)
	g.declare("orders")
	sse := openSSE(t, g.url+"/v1/sse?exchange=orders", nil)
	awaitFrame(t, sse, "ready")
	ws, _ := openWS(t, g.url+"/v1/ws?exchange=orders")
	awaitFrame(t, ws, "ready")
	before := time.Now()
	g.stamped("orders", before, `,"traceparent":"`+unsampledParent+`"`)
	g.stamped("orders", before, `,"traceparent":"nonsense"`)
	g.stamped("orders", before, ``)
	g.stamped("orders", before, `,"traceparent":"`+sampledParent+`","tracestate":"vendor=abc,other=1"`)
	for _, r := range []*frameReader{sse, ws} {
		var last string
		for range 4 {
			last = awaitFrame(t, r, "message")
		}
		// It is the publisher's own that the page gets, to go on from.
		var frame struct {
			Properties struct{ Headers map[string]any }
		}
		if err := json.Unmarshal([]byte(last), &frame); err != nil {
			t.Fatal(err)
		}
		h := frame.Properties.Headers
		if h["traceparent"] != sampledParent || h["tracestate"] != "vendor=abc,other=1" {
			t.Errorf("headers are %v", h)
		}
	}
	span := c.await(1)[0]
	if hex.EncodeToString(span.TraceId) != sampledParent[3:35] || hex.EncodeToString(span.ParentSpanId) != sampledParent[36:52] {
		t.Errorf("trace %x, parent %x", span.TraceId, span.ParentSpanId)
	}
	begun, ended := time.Unix(0, int64(span.StartTimeUnixNano)), time.Unix(0, int64(span.EndTimeUnixNano))
	if span.Name != "deliver orders" || span.Kind != tracepb.Span_SPAN_KIND_CONSUMER || span.TraceState != "vendor=abc,other=1" ||
		begun.Before(before) || ended.Before(begun) || ended.After(time.Now()) {
		t.Errorf("span is %v", span)
	}
	attributes := map[string]string{}
	for _, a := range span.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	if attributes["messaging.destination.name"] != "orders" || attributes["messaging.rabbitmq.destination.routing_key"] != "k" ||
		attributes["warren.transport"] == "" || attributes["warren.stream"] == "" {
		t.Errorf("attributes are %v", attributes)
	}
	if err := g.stop(); err != nil { // which exports what is left
		t.Error(err)
	}
	if all := c.all(); len(all) != 1 {
		t.Errorf("%d spans, want one for one sampled message and two readers", len(all))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service["service.name"] != "warren" || c.service["deployment.environment.name"] != "test" {
		t.Errorf("the service is %v", c.service)
	}
}

func TestStopExportsWhatIsLeft(t *testing.T) {
	c := startCollector(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
	t.Setenv("OTEL_SERVICE_NAME", "events")
	g := startGateway(t)
	g.declare("orders")
	sse := openSSE(t, g.url+"/v1/sse?exchange=orders", nil)
	awaitFrame(t, sse, "ready")
	g.stamped("orders", time.Now(), `,"traceparent":"`+sampledParent+`"`)
	awaitFrame(t, sse, "message")
	g.eventually(`warren_receive_to_write_seconds_count{transport="sse"}`, 1)
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if spans := c.all(); len(spans) != 1 || c.service["service.name"] != "events" {
		t.Errorf("%d spans of %v", len(spans), c.service)
	}
}

// TestTextThatIsNoUTF8CostsNoSpan: AMQP lets a routing key be any bytes.
func TestTextThatIsNoUTF8CostsNoSpan(t *testing.T) {
	c := startCollector(t)
	tracing, err := newTracing(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	headers := broker.Table{"traceparent": sampledParent}
	for _, key := range []string{"good", "bad\xff"} {
		tracing.Received("stream", &broker.Message{Exchange: "x", RoutingKey: key, Properties: broker.Properties{Headers: headers}}).Written(broker.SSE, time.Now())
	}
	tracing.close(t.Context())
	if spans := c.all(); len(spans) != 2 {
		t.Errorf("%d spans of 2", len(spans))
	}
}

func TestCollectorThatDoesNotAnswerHurtsNobody(t *testing.T) {
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	defer server.Close()
	defer close(hung)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL+"/somewhere")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	g := startGateway(t)
	g.declare("orders")
	sse := openSSE(t, g.url+"/v1/sse?exchange=orders", nil)
	awaitFrame(t, sse, "ready")
	for range 20 {
		g.stamped("orders", time.Now(), `,"traceparent":"`+sampledParent+`"`)
		awaitFrame(t, sse, "message")
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
}

func TestTracesAreConfiguredByOpenTelemetrysVariables(t *testing.T) {
	for name, c := range map[string]struct {
		env   []string
		want  bool
		fault string
	}{
		"nothing":               {nil, false, ""},
		"endpoint":              {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"}, true, ""},
		"endpoint for traces":   {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/x"}, true, ""},
		"exporter":              {[]string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		"endpoint, no exporter": {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_EXPORTER=none"}, false, ""},
		"disabled":              {[]string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_SDK_DISABLED=TRUE"}, false, ""},
		"in JSON":               {[]string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json"}, true, ""},
		"by gRPC":               {[]string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"to the console":        {[]string{"OTEL_TRACES_EXPORTER=console"}, false, "OTEL_TRACES_EXPORTER"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{
				"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
				"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
			} {
				t.Setenv(key, "") // what this test itself was started with
			}
			for _, line := range c.env {
				key, value, _ := strings.Cut(line, "=")
				t.Setenv(key, value)
			}
			got, err := tracesWanted()
			if got != c.want || (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "jaeger")
	var out bytes.Buffer
	args := []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", ""}
	if err := run(t.Context(), process{args: args, stdout: &out, stderr: &out}); err == nil || !strings.Contains(err.Error(), "jaeger") {
		t.Errorf("the gateway starts, or ends with %v", err)
	}
}

func TestMessagesThatAreNotSampledCostNoMemory(t *testing.T) {
	startCollector(t)
	tr, err := newTracing(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close(t.Context())
	for name, headers := range map[string]broker.Table{
		"none": nil, "other": {"x": int64(1)}, "not sampled": {"traceparent": unsampledParent}, "nonsense": {"traceparent": "x"}, "number": {"traceparent": int64(7)},
	} {
		m := &broker.Message{Exchange: "e", Properties: broker.Properties{Headers: headers}}
		if n := testing.AllocsPerRun(100, func() {
			if tr.Received("s", m) != nil {
				t.Errorf("%s is followed", name)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestTraceContextComesThroughRabbitMQ is about the headers as AMQP carries them,
// and what is exported of a gateway that has a broker.
func TestTraceContextComesThroughRabbitMQ(t *testing.T) {
	c := startCollector(t)
	url := rabbittest.VHost(t)
	pub := newRabbitPublisher(t, url)
	pub.declare("orders")
	g := startGateway(t, "--broker", url)
	g.eventually("warren_broker_ready", 1)
	ws, _ := openWS(t, g.url+"/v1/ws?exchange=orders")
	awaitFrame(t, ws, "ready")
	err := pub.ch.PublishWithContext(t.Context(), "orders", "k", false, false, amqp.Publishing{
		Headers: amqp.Table{"traceparent": sampledParent, "tracestate": []byte("vendor=abc")}, Body: []byte("1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if frame := awaitFrame(t, ws, "message"); !strings.Contains(frame, `"headers":{"traceparent":"`+sampledParent+`","tracestate":"vendor=abc"}`) {
		t.Errorf("the frame is %s", frame)
	}
	span := c.await(1)[0]
	if hex.EncodeToString(span.ParentSpanId) != sampledParent[36:52] || span.TraceState != "vendor=abc" {
		t.Errorf("the span is %v", span)
	}
	g.eventually("warren_broker_unacked_messages", 0) // acks wait a little for more to come
	got := g.series()
	for series, least := range map[string]float64{
		"warren_broker_connections": 1, "warren_broker_connects_total": 1, "warren_broker_queues": 1,
		"warren_messages_received_total": 1,
	} {
		if got[series] < least {
			t.Errorf("%s is %v, want at least %v", series, got[series], least)
		}
	}
}
