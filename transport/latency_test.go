package transport_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

func TestLatencyIsThatOfWhatCameWhileTheStreamWasOpen(t *testing.T) {
	g := newGateway(t, setup{})
	begun := time.Now()
	g.publish("1")
	eventually(t, "an event", func() bool { return g.sub.Snapshot().Newest.Offset == 1 })
	_, r := g.get("/sse")
	r.skip()
	r.event()
	if n := g.server.Stats().SSE.FromReceipt.Count; n != 0 {
		t.Errorf("what was published before counts: %d", n)
	}
	ago := time.Now().Add(-time.Hour).Truncate(time.Second)
	stamped := broker.Message{
		Exchange: "orders", Body: []byte("2"), Properties: broker.Properties{Timestamp: uint64(ago.Unix()), HasTimestamp: true},
	}
	if !g.source.Queue(g.sub.Stream()).Deliver(stamped) {
		t.Fatal("the queue is closed")
	}
	r.event()
	eventually(t, "a duration", func() bool { return g.server.Stats().SSE.FromReceipt.Count == 1 })
	stats, most := g.server.Stats(), time.Since(begun)
	if h := stats.SSE.FromReceipt; h.Sum <= 0 || h.Sum > most || h.UpTo[30*time.Second] != 1 {
		t.Errorf("from receipt: %+v", h)
	}
	if h := stats.SSE.FromPublish; h.Count != 1 || h.Sum < time.Hour || h.Sum > time.Since(ago) || h.UpTo[30*time.Second] != 0 {
		t.Errorf("from publication: %+v", h)
	}
	if stats.WS.FromReceipt.Count != 0 {
		t.Errorf("of a transport that has no stream: %+v", stats.WS.FromReceipt)
	}

	s := g.socket("/ws")
	for range 3 { // ready and both messages: it has caught up
		s.text()
	}
	s.ask(`{"type":"pause"}`)
	s.next("ok", "paused")
	g.publish("3")
	r.event()
	s.ask(`{"type":"resume"}`)
	s.next("ok", "resumed")
	s.next("message")
	g.publish("4")
	s.next("message")
	eventually(t, "a duration", func() bool { return g.server.Stats().WS.FromReceipt.Count > 0 })
	if n := g.server.Stats().WS.FromReceipt.Count; n != 1 {
		t.Errorf("%d durations: that of the pause counts", n)
	}
}

func TestStormOfEndsIsOneLinePerReason(t *testing.T) {
	var log brokertest.Buffer
	g := newGateway(t, setup{logger: slog.New(slog.NewTextHandler(&log, nil))})
	const readers = 20
	for range readers {
		_, r := g.get("/sse")
		r.skip()
		_ = r.conn.Close()
	}
	g.ended(readers)
	_, r := g.get("/sse")
	r.skip()
	g.sub.End(broker.EndDeleted)
	r.event()
	g.ended(readers + 1)
	text := log.String()
	for _, want := range []string{"reason=client_gone code=1006 duration=", "reason=subscription_deleted code=4410 duration="} {
		if n := strings.Count(text, want); n != 1 {
			t.Errorf("%d lines with %s:\n%s", n, want, text)
		}
	}
	if n := strings.Count(text, "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, text)
	}
}
