package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

// metrics reads the snapshots that the packages offer when it is asked, so that
// the ways of messages and requests know nothing of Prometheus. Labels are
// closed sets: never an id, a name or an address.
type metrics struct {
	g *gateway

	subscriptions, logBytes, logBudget, attachments   *prometheus.Desc
	received, receivedBytes, evicted, gaps            *prometheus.Desc
	streams, opened, frames, messages, bytes, flushes *prometheus.Desc
	closes, refusals, requests                        *prometheus.Desc
	brokerReady, brokerOverloaded, roundTrip          *prometheus.Desc
}

func newMetrics(g *gateway) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("warren_"+name, help, labels, nil)
	}
	return &metrics{
		g:                g,
		subscriptions:    desc("subscriptions", "Subscriptions by kind and state.", "kind", "state"),
		attachments:      desc("attachments", "Attachments by transport.", "transport"),
		logBytes:         desc("log_bytes", "Bytes that all logs hold."),
		logBudget:        desc("log_budget_bytes", "Bytes that all logs may hold."),
		received:         desc("messages_received_total", "Messages received from the broker."),
		receivedBytes:    desc("received_bytes_total", "Bytes of the bodies of messages received."),
		evicted:          desc("log_evicted_total", "Events that left a log because it was full."),
		gaps:             desc("gaps_total", "Gap frames by reason: those of a log once, those of one reader once for that reader.", "reason"),
		streams:          desc("streams", "Open streams by transport.", "transport"),
		opened:           desc("streams_opened_total", "Streams opened by transport.", "transport"),
		frames:           desc("frames_sent_total", "Frames of all types written by transport.", "transport"),
		messages:         desc("messages_sent_total", "Message frames written by transport: deliveries.", "transport"),
		bytes:            desc("sent_bytes_total", "Bytes written to streams by transport, framing included.", "transport"),
		flushes:          desc("writes_total", "Writes to streams by transport: system calls, or flushes on HTTP/2.", "transport"),
		closes:           desc("stream_closes_total", "Streams that ended, by reason.", "reason"),
		refusals:         desc("stream_refusals_total", "Streams refused with a bye, by reason.", "reason"),
		requests:         desc("websocket_requests_total", "WebSocket requests."),
		brokerReady:      desc("broker_ready", "1 while the broker can be used."),
		brokerOverloaded: desc("broker_overloaded", "1 while new subscriptions are refused to protect the broker."),
		roundTrip:        desc("broker_round_trip_seconds", "Last round trip through the broker, 0 if none was measured."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectCore(ch)
	m.collectStreams(ch)
	m.collectBroker(ch)
}

func (m *metrics) collectCore(ch chan<- prometheus.Metric) {
	type class struct {
		kind  string
		state broker.State
	}
	counts := map[class]int{}
	var sse, ws int
	for _, s := range m.g.core.All() {
		snap := s.Snapshot()
		kind := "owned"
		if s.Shared() {
			kind = "shared"
		}
		counts[class{kind, snap.State}]++
		sse += snap.SSE
		ws += snap.WS
	}
	for _, kind := range []string{"owned", "shared"} {
		for _, state := range []broker.State{broker.StateActive, broker.StatePaused, broker.StateRecovering} {
			gauge(ch, m.subscriptions, float64(counts[class{kind, state}]), kind, string(state))
		}
	}
	gauge(ch, m.attachments, float64(sse), "sse")
	gauge(ch, m.attachments, float64(ws), "ws")
	stats := m.g.core.Stats()
	gauge(ch, m.logBytes, float64(stats.LogBytes))
	gauge(ch, m.logBudget, float64(stats.MemoryBudget))
	counter(ch, m.received, stats.Received)
	counter(ch, m.receivedBytes, stats.ReceivedBytes)
	counter(ch, m.evicted, stats.Evicted)
	for reason, n := range stats.Gaps {
		counter(ch, m.gaps, n, string(reason))
	}
}

func (m *metrics) collectStreams(ch chan<- prometheus.Metric) {
	stats := m.g.streams.Stats()
	for name, t := range map[string]transport.TransportStats{"sse": stats.SSE, "ws": stats.WS} {
		gauge(ch, m.streams, float64(t.Open), name)
		counter(ch, m.opened, t.Opened, name)
		counter(ch, m.frames, t.Frames, name)
		counter(ch, m.messages, t.Messages, name)
		counter(ch, m.bytes, t.Bytes, name)
		counter(ch, m.flushes, t.Writes, name)
	}
	for reason, n := range stats.Closes {
		counter(ch, m.closes, n, string(reason))
	}
	for reason, n := range stats.Refusals {
		counter(ch, m.refusals, n, string(reason))
	}
	counter(ch, m.requests, stats.Requests)
}

func (m *metrics) collectBroker(ch chan<- prometheus.Metric) {
	health := m.g.source.Health()
	gauge(ch, m.brokerReady, truth(health.Ready))
	gauge(ch, m.brokerOverloaded, truth(health.Overloaded))
	gauge(ch, m.roundTrip, health.RoundTrip.Seconds())
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}
