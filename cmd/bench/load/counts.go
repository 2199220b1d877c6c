package load

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Counts are what readers, or consumers, have got since they began. Streams that are stalled do not count.
type Counts struct {
	At       int64 `json:"at"`       // nanoseconds since 1970
	Messages int64 `json:"messages"` // of all streams
	Bytes    int64 `json:"bytes"`
	Least    int64 `json:"least"` // messages of the slowest stream
	Most     int64 `json:"most"`  // messages of the fastest
	Lost     int   `json:"lost"`  // streams that have ended
}

// Latencies sum up how long messages took from the publisher to a reader, in nanoseconds.
type Latencies struct {
	Count  int   `json:"count"`
	Median int64 `json:"median"`
	P99    int64 `json:"p99"`
	Max    int64 `json:"max"`
}

// Sum sorts samples and sums them up.
func Sum(samples []int64) Latencies {
	if len(samples) == 0 {
		return Latencies{}
	}
	slices.Sort(samples)
	last := len(samples) - 1
	return Latencies{
		Count:  len(samples),
		Median: samples[len(samples)/2],
		P99:    samples[min(last, len(samples)*99/100)],
		Max:    samples[last],
	}
}

// Count answers the counts so far.
func (r *Readers) Count() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := Counts{At: time.Now().UnixNano(), Bytes: r.bytes, Lost: r.lost}
	for _, s := range r.streams[min(r.stalled, len(r.streams)):] {
		c.Messages += s.count
	}
	c.Least, c.Most = r.extremes()
	return c
}

// Segments answers how many TCP segments with data all open streams have received: a system call for each. Where it grows by less
// than the messages do, some came together, be it that the server wrote them so or that its kernel kept them back.
func (r *Readers) Segments() (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sum int64
	for _, s := range r.streams {
		if s.fd < 0 {
			continue
		}
		info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return 0, err
		}
		sum += int64(info.Data_segs_in)
	}
	return sum, nil
}

// Time begins taking latencies; the earlier ones are forgotten.
func (r *Readers) Time() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timing, r.sample = true, r.sample[:0]
}

// Latencies ends taking latencies and sums them up.
func (r *Readers) Latencies() Latencies {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timing = false
	return Sum(r.sample)
}

// Stall stops reading the first n streams; their connections stay open.
func (r *Readers) Stall(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stalled = n
	for _, s := range r.streams[:min(n, len(r.streams))] {
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, s.fd, nil); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the loop and closes all streams.
func (r *Readers) Close() {
	close(r.quit)
	r.wait.Wait()
	for _, s := range r.streams {
		if s.fd >= 0 {
			_ = unix.Close(s.fd)
		}
	}
	_ = unix.Close(r.epoll)
}
