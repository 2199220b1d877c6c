package transport_test

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// idleRequests are what bare clients send.
var idleRequests = map[string]string{
	"SSE": "GET /sse?from=unread HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAccept: text/event-stream\r\n\r\n",
	"WS": "GET /ws?from=unread HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + wsKey + "\r\n\r\n",
}

// BenchmarkIdle reports what an idle stream takes: bytes that are live after a
// collection (heap and stacks), and resident bytes of the process. The clients
// are bare descriptors, which take nothing of either.
func BenchmarkIdle(b *testing.B) {
	for name, request := range idleRequests {
		b.Run(name, func(b *testing.B) {
			const streams = 2000
			g := newGateway(b, setup{noLimits: true})
			before, rssBefore := live(), resident(b)
			var fds []int
			for range streams {
				fds = append(fds, rawDial(b, g.http.Listener.Addr(), request))
			}
			g.attached(streams)
			b.ReportMetric(float64(live()-before)/streams, "live-B/stream")
			b.ReportMetric(float64(resident(b)-rssBefore)/streams, "rss-B/stream")
			b.ReportMetric(float64(runtime.NumGoroutine())/streams, "goroutines/stream")
			b.ReportMetric(0, "ns/op")
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			g.attached(0)
		})
	}
}

// rawDial sends the request on a new connection and waits for the first bytes.
func rawDial(b *testing.B, addr net.Addr, request string) int {
	b.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}} //nolint:forcetypeassert // a TCP listener's
	if err := unix.Connect(fd, to); err != nil {
		b.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		b.Fatal(err)
	}
	var buf [4096]byte
	if _, err := unix.Read(fd, buf[:]); err != nil {
		b.Fatal(err)
	}
	return fd
}

func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func resident(b *testing.B) int64 {
	b.Helper()
	debug.FreeOSMemory()
	p, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(p)[1]))
	if err != nil {
		b.Fatal(err)
	}
	return int64(pages) * int64(os.Getpagesize())
}

func itoa(n int) string { return strconv.Itoa(n) }
