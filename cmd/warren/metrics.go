package main

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq"
	"github.com/warren-gateway/warren/transport"
)

// metrics reads the snapshots that the packages offer when it is asked, so that
// the ways of messages and requests know nothing of Prometheus. Labels are
// closed sets: never an id, a name or an address. What has happened to nobody
// yet is exported as 0, so that a first time is seen as an increase.
type metrics struct {
	g *gateway

	buildInfo                                         *prometheus.Desc
	subscriptions, logBytes, logBudget, attachments   *prometheus.Desc
	lagFrames, lagSeconds, behindFrames, behindTime   *prometheus.Desc
	received, receivedBytes, evicted, dropped, gaps   *prometheus.Desc
	streams, opened, frames, messages, bytes, flushes *prometheus.Desc
	fromReceipt, fromPublish                          *prometheus.Desc
	closes, streamRefusals, refusals, requests        *prometheus.Desc

	brokerReady, brokerOverloaded, roundTrip, blocked *prometheus.Desc
	connections, connects, connectFailures, losses    *prometheus.Desc
	queues, recovering, recoveries, unacked, poisoned *prometheus.Desc
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("warren_"+name, help, labels, nil)
}

func newMetrics(g *gateway) *metrics {
	return &metrics{
		g:              g,
		buildInfo:      desc("build_info", "1, with what is running.", "version", "commit", "go_version"),
		subscriptions:  desc("subscriptions", "Subscriptions by kind and state.", "kind", "state"),
		attachments:    desc("attachments", "Attachments by transport.", "transport"),
		lagFrames:      desc("attachment_max_lag_frames", "Frames that the attachment furthest behind has not been given; paused ones count."),
		lagSeconds:     desc("attachment_max_lag_seconds", "Age of the oldest message that an attachment has not been given, in the log."),
		behindFrames:   desc("attachments_behind_frames", "Attachments that have not been given more than this many frames.", "over"),
		behindTime:     desc("attachments_behind_seconds", "Attachments that have not been given messages older than this many seconds.", "over"),
		logBytes:       desc("log_bytes", "Bytes that all logs hold."),
		logBudget:      desc("log_budget_bytes", "Bytes that all logs may hold."),
		received:       desc("messages_received_total", "Messages received from the broker."),
		receivedBytes:  desc("received_bytes_total", "Bytes of the bodies of messages received."),
		evicted:        desc("log_evicted_total", "Events that left a log because it was full."),
		dropped:        desc("messages_dropped_total", "Messages that the broker dropped from queues before they were received, as far as their number is known."),
		gaps:           desc("gaps_total", "Gap frames by reason: those of a log once, those of one reader once for that reader.", "reason"),
		streams:        desc("streams", "Open streams by transport.", "transport"),
		opened:         desc("streams_opened_total", "Streams opened by transport.", "transport"),
		frames:         desc("frames_sent_total", "Frames of all types but bye written by transport.", "transport"),
		messages:       desc("messages_sent_total", "Message frames written by transport: deliveries.", "transport"),
		bytes:          desc("sent_bytes_total", "Bytes written to streams by transport, framing included, without the bye and what goes with it.", "transport"),
		flushes:        desc("writes_total", "Writes to streams by transport: a system call each, more where a client takes it in parts; flushes on HTTP/2.", "transport"),
		fromReceipt:    desc("receive_to_write_seconds", "From the receipt of a message to its write to a client: the oldest message of each write to a live stream.", "transport"),
		fromPublish:    desc("publish_to_write_seconds", "The same from when its publisher says to have published it, where it says so.", "transport"),
		closes:         desc("stream_closes_total", "Streams that ended, by close code and reason.", "code", "reason"),
		streamRefusals: desc("stream_refusals_total", "Streams refused with a bye, by reason.", "reason"),
		refusals:       desc("refusals_total", "Requests refused, by the code of the problem: REST, streams, WebSocket requests, connections.", "code"),
		requests:       desc("websocket_requests_total", "WebSocket requests."),

		brokerReady:      desc("broker_ready", "1 while the broker can be used."),
		brokerOverloaded: desc("broker_overloaded", "1 while new subscriptions are refused to protect the broker."),
		blocked:          desc("broker_blocked", "1 while RabbitMQ has an alarm and blocks publishers."),
		roundTrip:        desc("broker_round_trip_seconds", "Last round trip of the canary through the broker, or how long it waits by now; 0 if none was measured."),
		connections:      desc("broker_connections", "Connections to RabbitMQ that own queues."),
		connects:         desc("broker_connects_total", "Such connections that were made."),
		connectFailures:  desc("broker_connect_failures_total", "Attempts to make one that failed."),
		losses:           desc("broker_connection_losses_total", "Such connections that ended by themselves."),
		queues:           desc("broker_queues", "Queues at RabbitMQ, those that are being made again included."),
		recovering:       desc("broker_queues_recovering", "Queues that were lost and are being made again."),
		recoveries:       desc("broker_queue_recoveries_total", "Queues that were made again after a loss."),
		unacked:          desc("broker_unacked_messages", "Messages received from RabbitMQ and not acknowledged yet."),
		poisoned:         desc("headers_dropped_total", "Messages whose headers were taken off because they are not what AMQP 0-9-1 allows, or too many or too deep."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	build := thisBuild()
	gauge(ch, m.buildInfo, 1, build.version, build.commit, runtime.Version())
	m.collectSubscriptions(ch)
	m.collectCore(ch)
	m.collectStreams(ch)
	for code, n := range m.g.refusals.snapshot() {
		counter(ch, m.refusals, n, string(code))
	}
	m.collectBroker(ch)
}

// What attachments are counted by: a few steps tell readers that hiccup from
// readers that are lost, and stay the same number of series for any number of readers.
var (
	frameSteps = [...]uint64{0, 10, 100, 1000, 10000}
	timeSteps  = [...]time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute}
)

func (m *metrics) collectSubscriptions(ch chan<- prometheus.Metric) {
	type class struct {
		kind  string
		state broker.State
	}
	counts := map[class]int{}
	var sse, ws int
	var most broker.Lag
	var byFrames [len(frameSteps)]int
	var byTime [len(timeSteps)]int
	each := func(_ broker.Transport, lag broker.Lag) {
		for i := 0; i < len(frameSteps) && lag.Events > frameSteps[i]; i++ {
			byFrames[i]++
		}
		for i := 0; i < len(timeSteps) && lag.Age > timeSteps[i]; i++ {
			byTime[i]++
		}
	}
	for _, s := range m.g.core.All() {
		load := s.Load(each)
		counts[class{kindOf(s), load.State}]++
		sse += load.SSE
		ws += load.WS
		most.Events, most.Age = max(most.Events, load.Lag.Events), max(most.Age, load.Lag.Age)
	}
	for _, kind := range []string{"owned", "shared"} {
		for _, state := range []broker.State{broker.StateActive, broker.StatePaused, broker.StateRecovering} {
			gauge(ch, m.subscriptions, float64(counts[class{kind, state}]), kind, string(state))
		}
	}
	gauge(ch, m.attachments, float64(sse), "sse")
	gauge(ch, m.attachments, float64(ws), "ws")
	gauge(ch, m.lagFrames, float64(most.Events))
	gauge(ch, m.lagSeconds, most.Age.Seconds())
	for i, step := range frameSteps {
		gauge(ch, m.behindFrames, float64(byFrames[i]), strconv.FormatUint(step, 10))
	}
	for i, step := range timeSteps {
		gauge(ch, m.behindTime, float64(byTime[i]), strconv.FormatFloat(step.Seconds(), 'g', -1, 64))
	}
}

func kindOf(s *broker.Subscription) string {
	if s.Shared() {
		return "shared"
	}
	return "owned"
}

func (m *metrics) collectCore(ch chan<- prometheus.Metric) {
	stats := m.g.core.Stats()
	gauge(ch, m.logBytes, float64(stats.LogBytes))
	gauge(ch, m.logBudget, float64(stats.MemoryBudget))
	counter(ch, m.received, stats.Received)
	counter(ch, m.receivedBytes, stats.ReceivedBytes)
	counter(ch, m.evicted, stats.Evicted)
	counter(ch, m.dropped, stats.Dropped)
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
		histogram(ch, m.fromReceipt, t.FromReceipt, name)
		histogram(ch, m.fromPublish, t.FromPublish, name)
	}
	for reason, n := range stats.Closes {
		counter(ch, m.closes, n, strconv.Itoa(transport.CloseCode(reason)), string(reason))
	}
	for reason, n := range stats.Refusals {
		if reason != transport.ReasonClientGone {
			counter(ch, m.streamRefusals, n, string(reason))
		}
	}
	counter(ch, m.requests, stats.Requests)
}

func (m *metrics) collectBroker(ch chan<- prometheus.Metric) {
	health := m.g.source.Health()
	gauge(ch, m.brokerReady, truth(health.Ready))
	gauge(ch, m.brokerOverloaded, truth(health.Overloaded))
	gauge(ch, m.roundTrip, health.RoundTrip.Seconds())
	var stats rabbitmq.Stats // of memory:// all of these are 0
	if m.g.source.rabbit != nil {
		stats = m.g.source.rabbit.Stats()
	}
	gauge(ch, m.blocked, truth(stats.Blocked))
	gauge(ch, m.connections, float64(stats.Connections))
	counter(ch, m.connects, stats.Connects)
	counter(ch, m.connectFailures, stats.ConnectFailures)
	counter(ch, m.losses, stats.Losses)
	gauge(ch, m.queues, float64(stats.Queues))
	gauge(ch, m.recovering, float64(stats.Recovering))
	counter(ch, m.recoveries, stats.Recoveries)
	gauge(ch, m.unacked, float64(stats.Unacked))
	counter(ch, m.poisoned, stats.Poisoned)
}

// refusalCounts counts refusals by code. Codes are a closed set, so there is
// neither a lock nor anything to bound.
type refusalCounts map[broker.Code]*atomic.Uint64

func newRefusalCounts() refusalCounts {
	c := refusalCounts{}
	for _, code := range broker.Codes() {
		c[code] = new(atomic.Uint64)
	}
	return c
}

func (c refusalCounts) add(code broker.Code) {
	n := c[code]
	if n == nil {
		n = c[broker.CodeInternal] // as it is answered
	}
	n.Add(1)
}

func (c refusalCounts) snapshot() map[broker.Code]uint64 {
	all := make(map[broker.Code]uint64, len(c))
	for code, n := range c {
		all[code] = n.Load()
	}
	return all
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

func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h transport.Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(h.UpTo))
	for bound, n := range h.UpTo {
		buckets[bound.Seconds()] = n
	}
	ch <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets, labels...)
}
