package main

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// neverRead is how many connections read nothing, from 100 addresses; as many
// as a caller may have of each.
const neverRead = 10_000

func neverReadCases() []hostileCase {
	return []hostileCase{
		{name: "never read: 10,000 event streams", want: "held", attack: func(h *hostile) string {
			return h.neverRead(neverRead, requestText("GET /v1/sse?exchange=good", ""))
		}},
		{name: "never read: 2,000 WebSockets", want: "held", attack: func(h *hostile) string {
			return h.neverRead(2000, requestText("GET /v1/ws?exchange=good", "", upgradeHeader...))
		}},
		{name: "never read: streams that are flooded", want: "given up", attack: flooded},
		{name: "slow: a WebSocket that reads slowly but steadily, which is no attack", slow: true, want: "pong", attack: steady},
	}
}

// neverRead opens connections that take nothing but what the kernel takes for
// them, and holds them while others are served.
func (h *hostile) neverRead(n int, text string) string {
	h.t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		h.t.Fatal(err)
	}
	if limit.Cur < uint64(n)+500 { // Go has raised the soft one to the hard one
		h.t.Fatalf("a process may have %d open files, and this needs %d: ulimit -n", limit.Cur, n+500)
	}
	h.onlyNeighbours()
	text = h.fill(text)
	var failed atomic.Int64
	atOnce(n, 64, func(i int) {
		conn, err := h.tryDial(i % 100)
		if err == nil {
			_ = conn.(*net.TCPConn).SetReadBuffer(4096) // the least there is
			_, err = conn.Write([]byte(text))
		}
		if err != nil {
			failed.Add(1)
		}
	})
	if failed.Load() > 0 {
		h.t.Errorf("%d connections could not be made", failed.Load())
	}
	deadline := time.Now().Add(patience)
	for h.streams() < n && time.Now().Before(deadline) {
		h.world.neighbours.settleAfter(h.t, 100*time.Millisecond)
	}
	if open := h.streams(); open < n {
		h.t.Errorf("%d of %d streams are open", open, n)
	}
	d := h.world.neighbours.settleAfter(h.t, 3*time.Second)
	rss, err := h.gateway.RSS()
	h.t.Logf("beside %d streams that read nothing: slowest message %v, slowest answer %v, %d MiB resident (%v)", n, d.message, d.answer, rss>>20, err)
	return "held"
}

// onlyNeighbours waits until the streams of earlier attacks are gone: what is
// left are two, and at times a newcomer's.
func (h *hostile) onlyNeighbours() {
	h.t.Helper()
	if !warrentest.Eventually(bounded(h.t, patience), func() bool { return h.streams() <= 3 }) {
		h.t.Errorf("%d streams are left of earlier attacks", h.streams())
	}
}

func (h *hostile) streams() int {
	return metric(h.t, h.gateway, `warren_streams{transport="sse"}`) + metric(h.t, h.gateway, `warren_streams{transport="ws"}`)
}

// flooded are streams that read nothing while more comes than all buffers hold:
// the gateway gives them up, and nobody else notices.
func flooded(h *hostile) string {
	const streams, messages = 40, 400
	closes := metric(h.t, h.gateway, `warren_stream_closes_total{code="4408",reason="slow_reader"}`)
	text := h.fill(requestText("GET /v1/sse?exchange=news", ""))
	socket := h.fill(requestText("GET /v1/ws?exchange=news", "", upgradeHeader...))
	h.onlyNeighbours()
	conns := make([]net.Conn, streams)
	for i := range conns {
		conns[i] = h.dial(i)
		_ = conns[i].(*net.TCPConn).SetReadBuffer(4096)
		h.write(conns[i], []string{text, socket}[i%2])
	}
	deadline := time.Now().Add(patience)
	for h.streams() < streams+2 && time.Now().Before(deadline) {
		h.world.neighbours.settleAfter(h.t, 50*time.Millisecond)
	}
	if err := h.world.flood("news", messages, 32<<10); err != nil {
		h.t.Error(err)
	}
	// Some may be given up by the kernel, which counts from another moment on.
	h.onlyNeighbours()
	if metric(h.t, h.gateway, `warren_stream_closes_total{code="4408",reason="slow_reader"}`) == closes {
		h.t.Error("none was given up for being slow")
	}
	return "given up"
}

// steady reads a flood at 200 KB/s and answers pings when it comes to them,
// which is long after they were sent: it makes progress, so it is not given up.
func steady(h *hostile) string {
	const pace, step, duration = 100 * time.Millisecond, 20 << 10, 15 * time.Second
	conn, r := h.socket(0, "/v1/ws?exchange=news&routing_key=steady")
	if err := h.world.flood("news", 3000, 2<<10); err != nil {
		h.t.Error(err)
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for read, begin := 0, time.Now(); time.Since(begin) < duration; {
		op, payload, err := readWSFrame(r)
		switch {
		case err != nil:
			return "closed after " + time.Since(begin).String()
		case op == wsClose:
			return closeAnswer(payload)
		case op == wsPing:
			h.write(conn, wsFrame(wsFinal|wsPong, string(payload)))
		}
		for read += len(payload); read > step; read -= step {
			<-tick.C
		}
	}
	// What it finds behind all that it has not read yet tells whether it was given up.
	h.write(conn, wsFrame(wholeText, jsonPing))
	return h.until(r, "pong")
}
