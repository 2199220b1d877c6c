package transport

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/warren-gateway/warren/broker"
)

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping"}`, `{"type":"bind","ref":"r","bindings":[{"exchange":"e"}]}`, `{"type":"auth","token":"t"}`,
		`{"type":"ping","ref":"\ud800"}`, `[]`, `nul`, "", `{"type":"ping"}{}`, "{\"type\":\"\xff\"}", `{"ref":" ","type":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		req, ok, problem := parseRequest(p)
		if ok != (utf8.Valid(p) && json.Valid(p)) {
			t.Fatalf("ok is %v", ok)
		}
		if !ok {
			return
		}
		if problem == nil {
			if _, known := requestMembers[req.kind]; !known {
				t.Fatalf("kind is %q", req.kind)
			}
			if (req.kind == requestAuth) != (req.token != "") || (req.kind == requestBind || req.kind == requestUnbind) != (req.bindings != nil) {
				t.Fatalf("%+v", req)
			}
		} else if problem.Code != broker.CodeInvalidRequest || problem.Detail == "" {
			t.Fatalf("problem is %+v", problem)
		}
		// Whatever the client calls its request, the answer is one line of JSON.
		answer := broker.OKFrame(req.ref, nil)
		if !json.Valid(answer.JSON()) || bytes.ContainsAny(answer.JSON(), "\r\n") {
			t.Fatalf("answer is %q", answer.JSON())
		}
	})
}

func TestRefMayHave128CharactersOfAnyLength(t *testing.T) {
	for ref, want := range map[string]bool{
		strings.Repeat("ü", 128): true, strings.Repeat("x", 129): false,
	} {
		_, ok, problem := parseRequest([]byte(`{"type":"ping","ref":"` + ref + `"}`))
		if !ok || (problem == nil) != want {
			t.Errorf("%d characters: %v", utf8.RuneCountInString(ref), problem)
		}
	}
}

func TestHeaderHasTheShortestForm(t *testing.T) {
	for n, want := range map[int]string{
		0: "\x81\x00", 125: "\x81\x7d", 126: "\x81\x7e\x00\x7e", 65535: "\x81\x7e\xff\xff", 65536: "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
	} {
		if got := appendHeader(nil, opText, n); string(got) != want {
			t.Errorf("%d: %x", n, got)
		}
	}
}

func TestReturnIsSpreadByTheCreationRate(t *testing.T) {
	longest := 0
	for range 1000 {
		ms := drainRetryMS(2000, 100)
		if ms < 500 || ms > 20000 {
			t.Fatalf("%d ms", ms)
		}
		longest = max(longest, ms)
		if few := drainRetryMS(1, 100); few < 500 || few > 5000 {
			t.Fatalf("%d ms for one", few)
		}
		if after := retryAfter(10 * time.Second); after < 10000 || after > 12000 {
			t.Fatalf("%d ms after a refusal", after)
		}
	}
	if longest < 15000 {
		t.Errorf("longest of 1000 is %d ms", longest)
	}
}

func FuzzTrackerKnowsWholeFrames(f *testing.F) {
	f.Add([]byte{0, 125, 126, 200}, uint8(3), true)
	f.Add([]byte{255, 255, 1}, uint8(1), false)
	f.Fuzz(func(t *testing.T, sizes []byte, chunk uint8, masked bool) {
		var stream []byte
		ends := map[int]bool{0: true}
		for _, s := range sizes {
			n := int(s) * int(s) * 2 // of all three lengths of headers
			header := appendHeader(nil, opText, n)
			if masked {
				header[1] |= 0x80
				header = append(header, 1, 2, 3, 4)
			}
			stream = append(append(stream, header...), make([]byte, n)...)
			ends[len(stream)] = true
		}
		var track frameTracker
		for at := 0; at < len(stream); {
			n := min(int(chunk)+1, len(stream)-at)
			track.feed(stream[at : at+n])
			if at += n; track.whole() != ends[at] {
				t.Fatalf("after %d bytes whole is %v", at, track.whole())
			}
		}
	})
}

// countedConn is a connection as a listener that counts them hands it out.
type countedConn struct{ *net.TCPConn }

func TestConnectionThatEmbedsTCPTakesTheFastPath(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback: it cannot block
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := net.Dial("tcp", listener.Addr().String()) //nolint:noctx // loopback: it cannot block
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	st := newStream(&Server{opts: Options{}.withDefaults()}, broker.SSE)
	if st.onto(countedConn{conn.(*net.TCPConn)}); st.raw == nil {
		t.Error("each write would cost a goroutine, a timer and a system call more")
	}
}
