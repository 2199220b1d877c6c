package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBodyHasItsSizeAndKeepsItsTime(t *testing.T) {
	const when int64 = 1_790_000_000_123_456_789
	for _, size := range []int{64, 256, 4096} {
		body, at := Body(size)
		if len(body) != size {
			t.Errorf("a body of %d bytes has %d", size, len(body))
		}
		Stamp(body, at, when)
		if got := ReadStamp(body); got != when {
			t.Errorf("time %d was read as %d", when, got)
		}
	}
}

// TestMessagesAreCountedWhereverReadsAreCut feeds two messages in pieces that are cut at each place.
func TestMessagesAreCountedWhereverReadsAreCut(t *testing.T) {
	body, at := Body(64)
	Stamp(body, at, time.Now().Add(-time.Minute).UnixNano())
	text := fmt.Sprintf("id: x.1\ndata: {\"payload\":%s}\n\nid: x.2\ndata: {\"payload\":%[1]s}\n\n", body)
	for cut := range len(text) + 1 {
		r := &Readers{buf: make([]byte, maxCarry+readBuffer), timing: true}
		s := &stream{}
		for _, piece := range []string{text[:cut], text[cut:]} {
			copy(r.buf[maxCarry:], piece)
			r.scan(s, len(piece))
		}
		if s.count != 2 {
			t.Errorf("cut at %d: %d messages", cut, s.count)
		}
		if l := Sum(r.sample); l.Count != 2 || time.Duration(l.Median) < time.Minute || time.Duration(l.Max) > 2*time.Minute {
			t.Errorf("cut at %d: %+v", cut, l)
		}
	}
}

func TestMarkersAreFoundWhereBytesIndexFindsThem(t *testing.T) {
	for _, data := range []string{"", `"`, `~`, `"~`, `~"~`, `~~"~`, `""~`, `"x~"~`, `"~"~`, `{"a":"b~","t":"~1"}`, `"a" ~ "b"`} {
		if got, want := indexMarker([]byte(data)), strings.Index(data, Marker); got != want {
			t.Errorf("%s: %d, want %d", data, got, want)
		}
	}
}

func TestSumFindsMedianAndTail(t *testing.T) {
	samples := make([]int64, 0, 1000)
	for i := range int64(1000) {
		samples = append(samples, 999-i)
	}
	if got, want := Sum(samples), (Latencies{Count: 1000, Median: 500, P99: 990, Max: 999}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestReadersReadWhatServersSend reads an event stream from a real server, one of its two readers stalled.
func TestReadersReadWhatServersSend(t *testing.T) {
	const messages = 50
	body, at := Body(256)
	Stamp(body, at, time.Now().UnixNano())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range messages {
			_, _ = io.WriteString(w, "data: "+string(body)+"\n\n") // the count tells
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	progress, err := OpenProgress(filepath.Join(t.TempDir(), "progress"))
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close() //nolint:errcheck // a temporary file
	readers, err := NewReaders(progress)
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	target := Target{Kind: SSE, Addr: strings.TrimPrefix(server.URL, "http://"), Path: "/"}
	if err := readers.Connect(t.Context(), target, 3); err != nil {
		t.Fatal(err)
	}
	if err := readers.Stall(1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for readers.Count().Least < messages || progress.Get() < messages {
		select {
		case <-ctx.Done():
			t.Fatalf("got %+v, progress %d", readers.Count(), progress.Get())
		case <-time.After(time.Millisecond):
		}
	}
	if c := readers.Count(); c.Messages != 2*messages || c.Lost != 0 {
		t.Errorf("got %+v, want %d messages", c, 2*messages)
	}
}

// TestFirstRequestComesOnTheSameConnection asks for what the server refuses, before the stream.
func TestFirstRequestComesOnTheSameConnection(t *testing.T) {
	requests := make(chan string, 3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Method + " " + r.URL.Path + " from " + r.RemoteAddr
		if r.URL.Path == "/none" {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	readers, err := NewReaders(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	if err := readers.Connect(t.Context(), Target{Kind: SSE, Addr: server.Listener.Addr().String(), Path: "/sub", First: "/none"}, 1); err != nil {
		t.Fatal(err)
	}
	first, from, _ := strings.Cut(<-requests, " from ")
	if first != "HEAD /none" {
		t.Errorf("the first request is %s", first)
	}
	if second, want := <-requests, "GET /sub from "+from; second != want {
		t.Errorf("the second request is %s, want %s", second, want)
	}
}

// TestSegmentsTellHowMessagesCame gets messages from a server that sets TCP_NODELAY, one by one and then several by one write.
func TestSegmentsTellHowMessagesCame(t *testing.T) {
	const messages = 5 // fewer than segments that may lie unacknowledged at the beginning
	body, _ := Body(64)
	next := make(chan int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		for times := range next {
			_, _ = io.WriteString(w, strings.Repeat("data: "+string(body)+"\n\n", times)) // the count tells
			w.(http.Flusher).Flush()
		}
	}))
	defer server.Close()
	defer close(next)
	readers, err := NewReaders(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	if err := readers.Connect(t.Context(), Target{Kind: SSE, Addr: server.Listener.Addr().String(), Path: "/"}, 1); err != nil {
		t.Fatal(err)
	}
	before, err := readers.Segments()
	if err != nil {
		t.Fatal(err)
	}
	for range messages {
		next <- 1
	}
	next <- messages
	awaitMessages(t, readers, 2*messages)
	after, err := readers.Segments()
	if err != nil {
		t.Fatal(err)
	}
	if got := after - before; got != messages+1 {
		t.Errorf("%d segments, want %d", got, messages+1)
	}
}

// awaitMessages waits until the slowest reader has so many messages.
func awaitMessages(t *testing.T, readers *Readers, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for readers.Count().Least < n {
		select {
		case <-ctx.Done():
			t.Fatalf("got %+v, want %d messages", readers.Count(), n)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestRefusalSaysWhatTheServerSaid(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	readers, err := NewReaders(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer readers.Close()
	err = readers.Connect(t.Context(), Target{Kind: SSE, Addr: server.Listener.Addr().(*net.TCPAddr).String(), Path: "/"}, 1)
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("the error is %v", err)
	}
}
