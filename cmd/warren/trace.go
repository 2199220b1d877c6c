package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/warren-gateway/warren/broker"
)

// tracing gives each message whose publisher's trace is sampled a span from its
// receipt to its first write, below the publisher's own. It exports by OTLP over
// HTTP, as OpenTelemetry's environment variables say; without them there is no
// tracing at all.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	context  propagation.TraceContext
}

var _ broker.Tracer = (*tracing)(nil)

// traceFlush bounds how long a stop waits for a collector that does not answer.
const traceFlush = 2 * time.Second

// tracesWanted reads whether OpenTelemetry is configured, by the variables that
// its specification names. What cannot be done is an error.
func tracesWanted() (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return false, nil
		}
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER %q: want otlp or none", exporter)
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" && protocol != "http/json" {
		return false, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL %q: want http/protobuf or http/json", protocol)
	}
	return true, nil
}

// newTracing returns what traces messages, nil if OpenTelemetry is not configured.
func newTracing(ctx context.Context, logger *slog.Logger) (*tracing, error) {
	wanted, err := tracesWanted()
	if err != nil || !wanted {
		return nil, err
	}
	otel.SetErrorHandler(&traceErrors{logger: logger})
	about, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "warren"), attribute.String("service.version", thisBuild().version)),
		resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithFromEnv()) // last, so that it wins
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OpenTelemetry: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry: %w", err)
	}
	// The sampler is that of OTEL_TRACES_SAMPLER, by default what the publisher decided.
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &tracing{provider: provider, tracer: provider.Tracer("github.com/warren-gateway/warren")}, nil
}

// close exports what is left.
func (t *tracing) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, traceFlush)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// Received implements broker.Tracer.
func (t *tracing) Received(stream string, m *broker.Message) broker.Trace {
	parent := headerText(m.Properties.Headers, "traceparent")
	if !isSampled(parent) {
		return nil
	}
	ctx := t.context.Extract(context.Background(), headers(m.Properties.Headers))
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return nil // it was not well-formed
	}
	exchange := spanText(m.Exchange)
	_, span := t.tracer.Start(ctx, "deliver "+exchange,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "rabbitmq"),
			attribute.String("messaging.operation.name", "deliver"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", exchange),
			attribute.String("messaging.rabbitmq.destination.routing_key", spanText(m.RoutingKey)),
			attribute.Int("messaging.message.body.size", len(m.Body)),
			attribute.String("warren.stream", stream),
		))
	if !span.IsRecording() { // the sampler would rather not
		return nil
	}
	if id := m.Properties.MessageID; id != "" {
		span.SetAttributes(attribute.String("messaging.message.id", spanText(id)))
	}
	return messageTrace{span}
}

// spanText makes what a publisher wrote fit for a span. AMQP's short strings are
// any bytes, and one that is no UTF-8 would cost the collector the whole batch.
func spanText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// isSampled looks at the flags of a traceparent (00-<32>-<16>-01) before anything
// is made of it: most messages are not sampled.
func isSampled(parent string) bool {
	const flags = 2 + 1 + 32 + 1 + 16 + 1
	if len(parent) < flags+2 {
		return false
	}
	digit := parent[flags+1] // the lowest bit of it
	return digit >= '0' && digit <= '9' && digit&1 == 1 || digit >= 'a' && digit <= 'f' && digit&1 == 0
}

// headerText returns a header as text; publishers' libraries send both types.
func headerText(h broker.Table, name string) string {
	switch v := h[name].(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// headers are AMQP headers as a propagator reads them.
type headers broker.Table

// Get implements propagation.TextMapCarrier.
func (h headers) Get(name string) string { return headerText(broker.Table(h), name) }

// Set implements propagation.TextMapCarrier: messages are never changed.
func (h headers) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (h headers) Keys() []string { return []string{"traceparent", "tracestate"} }

// messageTrace is one message's span.
type messageTrace struct{ span trace.Span }

// Written implements broker.Trace.
func (m messageTrace) Written(t broker.Transport, at time.Time) {
	name := "sse"
	if t == broker.WS {
		name = "ws"
	}
	m.span.SetAttributes(attribute.String("warren.transport", name))
	m.span.End(trace.WithTimestamp(at))
}

// traceErrors logs what goes wrong with exporting, at most every ten seconds.
type traceErrors struct {
	logger *slog.Logger

	mu      sync.Mutex // guards all below
	next    time.Time
	skipped int
}

// Handle implements otel.ErrorHandler.
func (e *traceErrors) Handle(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if now.Before(e.next) {
		e.skipped++
		return
	}
	e.logger.Warn("traces not exported", slog.Any("error", err), slog.Int("not_logged", e.skipped))
	e.skipped, e.next = 0, now.Add(10*time.Second)
}
