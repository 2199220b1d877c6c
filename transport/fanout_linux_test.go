package transport_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-gateway/warren/transport"
)

// sink drains bare descriptors with one thread and counts the bytes.
type sink struct {
	epfd  int
	fds   []int
	bytes atomic.Int64
	stop  atomic.Bool
	done  chan struct{}
	cpu   time.Duration // what the draining took
}

func newSink(b *testing.B, fds []int) *sink {
	b.Helper()
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
	}
	s := &sink{epfd: epfd, fds: fds, done: make(chan struct{})}
	go s.run()
	return s
}

func (s *sink) run() {
	defer close(s.done)
	began := threadCPU()
	buf := make([]byte, 256<<10)
	events := make([]unix.EpollEvent, 256)
	for !s.stop.Load() {
		n, _ := unix.EpollWait(s.epfd, events, 10)
		for _, e := range events[:max(n, 0)] {
			if m, err := unix.Read(int(e.Fd), buf); err == nil {
				s.bytes.Add(int64(m))
			}
		}
	}
	s.cpu = threadCPU() - began
}

func (s *sink) close() {
	s.stop.Store(true)
	<-s.done
	_ = unix.Close(s.epfd)
	for _, fd := range s.fds {
		_ = unix.Close(fd)
	}
}

func threadCPU() time.Duration { return usage(unix.RUSAGE_THREAD) }

func usage(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFanOut publishes 256-byte messages to 1,000 readers: flat out in
// bursts, and one by one so that each is a wake-up and a system call of its own.
// cpu-ns/delivery is that of the whole process, the draining clients included.
func BenchmarkFanOut(b *testing.B) {
	for _, burst := range []int{1, 10, 200} {
		for name, request := range idleRequests {
			b.Run(name+"/burst="+itoa(burst), func(b *testing.B) { fanOut(b, request, burst) })
		}
	}
}

func fanOut(b *testing.B, request string, burst int) {
	b.Helper()
	const readers = 1000
	// The bare clients answer no ping: no heartbeat falls into the run.
	g := newGateway(b, setup{noLimits: true, transport: transport.Options{Heartbeat: time.Hour}})
	var fds []int
	for range readers {
		fds = append(fds, rawDial(b, g.http.Listener.Addr(), request))
	}
	g.attached(readers)
	s := newSink(b, fds)
	body := strings.Repeat("x", 256)
	bodies := make([]string, burst)
	for i := range bodies {
		bodies[i] = body
	}
	written := func() uint64 {
		stats := g.server.Stats()
		return stats.SSE.Messages + stats.WS.Messages
	}
	want := written()
	pace := time.NewTicker(50 * time.Microsecond)
	defer pace.Stop()
	b.ReportAllocs()
	b.ResetTimer()
	began, cpu := time.Now(), usage(unix.RUSAGE_SELF)
	for range b.N {
		g.publish(bodies...)
		want += uint64(burst * readers)
		for written() < want {
			<-pace.C
		}
	}
	took, used := time.Since(began), usage(unix.RUSAGE_SELF)-cpu
	b.StopTimer()
	n := float64(b.N * burst * readers)
	b.ReportMetric(n/took.Seconds(), "deliveries/s")
	b.ReportMetric(float64(used)/n, "cpu-ns/delivery")
	stats := g.server.Stats()
	b.ReportMetric(float64(stats.SSE.Messages+stats.WS.Messages)/float64(stats.SSE.Writes+stats.WS.Writes), "frames/write")
	s.close()
	g.attached(0)
}
