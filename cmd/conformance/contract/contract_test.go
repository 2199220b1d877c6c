package contract_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/warren-gateway/warren"
	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

const (
	streamID = "kG7rTq0WmZ3xV9aLb"
	message  = `{"type":"message","id":"` + streamID + `.1","exchange":"x","routing_key":"k","properties":{},"payload":"p","payload_encoding":"string"}`
	ready    = `{"type":"ready","id":"` + streamID + `.0","stream":"` + streamID + `","bindings":[],"resumed":false}`
	bye      = `{"type":"bye","code":4410,"reason":"subscription_deleted","reconnect":false,"retry_ms":2000}`
)

func TestFramesThatAreNotDescribedAreFaults(t *testing.T) {
	c := load(t)
	for frame, fault := range map[string]string{
		message: "", ready: "", bye: "",
		strings.Replace(message, `"payload":`, `"body":`, 1):             "payload",
		strings.Replace(message, `"type"`, `"extra":1,"type"`, 1):        "extra",
		strings.Replace(message, `"k"`, `1`, 1):                          "routing_key",
		strings.Replace(message, `string"}`, `text"}`, 1):                "payload_encoding",
		strings.Replace(bye, "4410", "4411", 1):                          "code",
		strings.Replace(ready, streamID+".0", "no id", 1):                "id",
		`{"type":"gap","id":"a.1","missed":3,"reason":"queue_lost"}`:     "missed",
		`{"type":"gap","id":"a.1","missed":2,"reason":"queue_overflow"}`: "oneOf",
		`{"type":"hello"}`: "no type that is described",
		`nonsense`:         "no JSON",
		`{"type":"pong"}`:  "not described for sse",
		`{"type":"ping","time":"yesterday","newest":null}`: "time",
	} {
		err := c.Frame(contract.SSE, []byte(frame))
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s: %v, want a fault about %q", frame, err, fault)
		}
	}
}

func TestRequestsThatAreNotDescribedAreFaults(t *testing.T) {
	c := load(t)
	for request, good := range map[string]bool{
		`{"type":"ping","ref":"1"}`: true, `{"type":"bind","bindings":[{"exchange":"x","routing_key":"#"}]}`: true,
		`{"type":"ping","ref":1}`: false, `{"type":"bind"}`: false, `{"type":"subscribe"}`: false, `[]`: false, `{"type":"bind","bindings":[{"exchange":"x"}]}`: false,
	} {
		if err := c.Request([]byte(request)); (err == nil) != good {
			t.Errorf("%s: %v", request, err)
		}
	}
}

func TestFramesOutOfOrderAreFaults(t *testing.T) {
	next := func(offset string) string { return strings.Replace(message, ".1", "."+offset, 1) }
	paused, resumed := `{"type":"paused","scope":"attachment"}`, `{"type":"resumed","scope":"attachment"}`
	marker := `{"type":"bindings","id":"` + streamID + `.9","bindings":[]}`
	evicted := `{"type":"gap","id":"` + streamID + `.9","missed":8,"reason":"evicted"}`
	for _, c := range []struct {
		name   string
		frames []string
		faults int
	}{
		{"in order", []string{ready, next("1"), next("2"), paused, resumed, next("3"), bye}, 0},
		{"an id that skips", []string{ready, next("1"), next("3")}, 1},
		{"an id that repeats", []string{ready, next("1"), next("1")}, 1},
		{"no ready", []string{next("1")}, 1},
		{"two ready", []string{ready, ready}, 1},
		{"after bye", []string{ready, bye, paused}, 1},
		{"a message while paused", []string{ready, paused, next("1")}, 1},
		{"resumed without paused", []string{ready, resumed}, 1},
		{"a gap of the reader", []string{ready, evicted, next("10")}, 0},
		{"a gap, and the marker that was evicted", []string{ready, evicted, marker, next("10")}, 0},
		{"a marker that was evicted, alone", []string{ready, marker, next("10")}, 0},
		{"a gap whose id is one too high", []string{ready, strings.Replace(evicted, ".9", ".10", 1), next("10")}, 1},
	} {
		s := load(t).NewStream(contract.WS)
		var faults []string
		for _, frame := range c.frames {
			faults = append(faults, s.Frame([]byte(frame))...)
		}
		if len(faults) != c.faults {
			t.Errorf("%s: %d faults, want %d: %v", c.name, len(faults), c.faults, faults)
		}
	}
}

// TestLongStreamsAreSampled: the ids of all messages are followed, and one message in so many is looked at whole.
func TestLongStreamsAreSampled(t *testing.T) {
	run := func(change func(i int, frame string) string) int {
		s := load(t).NewStream(contract.WS)
		faults := len(s.Frame([]byte(ready)))
		for i := 1; i <= 3000; i++ {
			frame := strings.Replace(message, streamID+".1", fmt.Sprint(streamID, ".", i), 1)
			faults += len(s.Frame([]byte(change(i, frame))))
		}
		return faults
	}
	if n := run(func(_ int, frame string) string { return frame }); n != 0 {
		t.Errorf("%d faults in a good stream", n)
	}
	if n := run(func(i int, frame string) string {
		if i == 2777 {
			return strings.Replace(frame, ".2777", ".2778", 1)
		}
		return frame
	}); n != 2 {
		t.Errorf("an id that skips, late in the stream: %d faults", n)
	}
	if n := run(func(i int, frame string) string {
		if i > 600 {
			return strings.Replace(frame, `"exchange"`, `"xchange"`, 1)
		}
		return frame
	}); n < 40 || n > 200 {
		t.Errorf("a member with a wrong name, late in the stream: %d faults", n)
	}
}

func TestLinesOfEventStreamsAreHeldToTheirFrames(t *testing.T) {
	opening := "retry: 1000\n\n"
	first := "event: ready\nid: " + streamID + ".0\ndata: " + ready + "\n\n"
	for name, c := range map[string]struct {
		text   string
		faults int
	}{
		"as it should be":    {opening + first + "id: " + streamID + ".1\ndata: " + message + "\n\nevent: bye\nretry: 2000\ndata: " + bye + "\n\n", 0},
		"a refusal":          {"event: bye\nretry: 2000\ndata: " + bye + "\n\n", 0},
		"no retry at first":  {first, 1},
		"ready without id:":  {opening + "event: ready\ndata: " + ready + "\n\n", 1},
		"ready without name": {opening + "id: " + streamID + ".0\ndata: " + ready + "\n\n", 1},
		"message with name":  {opening + first + "event: message\nid: " + streamID + ".1\ndata: " + message + "\n\n", 1},
		"bye without retry:": {opening + first + "event: bye\ndata: " + bye + "\n\n", 1},
		"another retry:":     {opening + first + "event: bye\nretry: 1\ndata: " + bye + "\n\n", 1},
		"two data lines":     {opening + first + "id: " + streamID + ".1\ndata: {}\ndata: " + message + "\n\n", 1},
		"a comment":          {opening + first + ": hello\n\n", 2}, // no field, and an event without data
	} {
		var faults []string
		s := load(t).NewEventStream(func(fault string) { faults = append(faults, fault) })
		for i := range c.text { // byte by byte: lines may come in pieces
			s.Write([]byte(c.text[i : i+1]))
		}
		if len(faults) != c.faults {
			t.Errorf("%s: %d faults, want %d: %v", name, len(faults), c.faults, faults)
		}
	}
}

// answer is a round tripper with one answer.
type answer func(*http.Request) *http.Response

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }

// headers are those of an answer, with another one, or, where its value is empty, without it.
func headers(name, value string) http.Header {
	h := http.Header{}
	for name, value := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		"Cross-Origin-Opener-Policy": "same-origin", "Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store",
		"Vary": "Origin", "Content-Type": "application/json",
	} {
		h.Set(name, value)
	}
	if strings.HasPrefix(value, "text/event-stream") {
		h.Set("Cache-Control", "no-store, no-transform")
		h.Set("X-Accel-Buffering", "no")
	}
	if name != "" {
		h.Set(name, value)
	}
	if value == "" {
		h.Del(name)
	}
	return h
}

func TestExchangesThatAreNotDescribedAreFaults(t *testing.T) {
	c := load(t)
	const body = `{"exchanges":[{"name":"x","type":"topic"}]}`
	sse, empty := [2]string{"Content-Type", "text/event-stream"}, [2]string{"Content-Type", ""}
	for name, tc := range map[string]struct {
		method, path, sent string
		status             int
		header             [2]string
		body               string
		fault              string // a part of it, or empty where all is well
	}{
		"as described":         {method: "GET", path: "/v1/exchanges", status: 200, body: body},
		"another status":       {method: "GET", path: "/v1/exchanges", status: 202, body: body, fault: "the status is not described"},
		"another header":       {method: "GET", path: "/v1/exchanges", status: 200, header: [2]string{"X-Extra", "1"}, body: body, fault: "header X-Extra is not described"},
		"a header is missing":  {method: "GET", path: "/v1/exchanges", status: 200, header: [2]string{"Cache-Control", ""}, body: body, fault: `"Cache-Control" missing`},
		"another header value": {method: "GET", path: "/v1/exchanges", status: 200, header: [2]string{"Cache-Control", "max-age=1"}, body: body, fault: `"Cache-Control" doesn't match`},
		"another content type": {method: "GET", path: "/v1/exchanges", status: 200, header: [2]string{"Content-Type", "text/plain"}, body: body, fault: "the content type is"},
		"another member":       {method: "GET", path: "/v1/exchanges", status: 200, body: `{"exchanges":[{"name":"x","kind":"topic"}]}`, fault: "kind"},
		"no JSON":              {method: "GET", path: "/v1/exchanges", status: 200, body: `{`, fault: "EOF"},
		"no list":              {method: "GET", path: "/v1/exchanges", status: 200, body: `{"exchanges":{}}`, fault: "want array"},
		"an unknown path":      {method: "GET", path: "/v1/nothing", status: 200, body: body, fault: "the path is not described"},
		"an unknown method":    {method: "POST", path: "/v1/exchanges", status: 200, body: body, fault: "the method is not described"},
		"a slash at the end":   {method: "GET", path: "/v1/exchanges/", status: 200, body: body, fault: "the path is not described"},
		"an empty parameter":   {method: "PUT", path: "/v1/exchanges/", sent: `{"type":"topic"}`, status: 204, header: empty, fault: "the path is not described"},

		"an answer to HEAD":                 {method: "HEAD", path: "/v1/exchanges", status: 200},
		"a header is missing, with HEAD":    {method: "HEAD", path: "/v1/exchanges", status: 200, header: [2]string{"Cache-Control", ""}, fault: `"Cache-Control" missing`},
		"a body where none is described":    {method: "PUT", path: "/v1/exchanges/x", sent: `{"type":"topic"}`, status: 204, body: body, fault: "no body is described"},
		"a request that was taken":          {method: "PUT", path: "/v1/exchanges/x", sent: `{"type":"topic"}`, status: 204, header: empty},
		"a name with a slash":               {method: "PUT", path: "/v1/exchanges/a%2Fb", sent: `{"type":"topic"}`, status: 204, header: empty},
		"a request with an unknown member":  {method: "PUT", path: "/v1/exchanges/x", sent: `{"kind":"topic"}`, status: 204, header: empty, fault: "should have been refused: at"},
		"a request without its body":        {method: "PUT", path: "/v1/exchanges/x", status: 204, header: empty, fault: "it has no body"},
		"a name that is too long":           {method: "PUT", path: "/v1/exchanges/" + strings.Repeat("x", 256), sent: `{"type":"topic"}`, status: 204, header: empty, fault: `"name" in path`},
		"a stream":                          {method: "GET", path: "/v1/sse?exchange=x&exchange=y&routing_key=%23&routing_key=a.*&share=false&linger_seconds=5", status: 200, header: sse},
		"a parameter that is not described": {method: "GET", path: "/v1/sse?exchange=x&key=%23", status: 200, header: sse, fault: `"key" was taken`},
		"a parameter of another type":       {method: "GET", path: "/v1/sse?exchange=x&share=perhaps", status: 200, header: sse, fault: `"share" in query`},
		"a parameter out of range":          {method: "GET", path: "/v1/sse?exchange=x&share=false&linger_seconds=0", status: 200, header: sse, fault: `"linger_seconds" in query`},
		"a parameter that came twice":       {method: "GET", path: "/v1/sse?exchange=x&share=true&share=false", status: 200, header: sse, fault: "is no list"},
		"one of a list is too long":         {method: "GET", path: "/v1/sse?exchange=x&exchange=" + strings.Repeat("x", 256), status: 200, header: sse, fault: `"exchange" in query`},
		"a header of another form":          {method: "GET", path: "/v1/sse?exchange=x", status: 200, header: [2]string{"Content-Type", "text/event-stream; charset=utf-8"}},
	} {
		var faults []string
		client := c.RoundTripper(answer(func(r *http.Request) *http.Response {
			return &http.Response{StatusCode: tc.status, Header: headers(tc.header[0], tc.header[1]), Request: r, Body: io.NopCloser(strings.NewReader(tc.body))}
		}), func(fault string) { faults = append(faults, fault) })
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://127.0.0.1:8080"+tc.path, strings.NewReader(tc.sent))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if tc.fault == "" && len(faults) > 0 || tc.fault != "" && (len(faults) != 1 || !strings.Contains(faults[0], tc.fault)) {
			t.Errorf("%s: faults %q, want one about %q", name, faults, tc.fault)
		}
	}
}

func TestSpecificationsWhoseTablesDifferAreRefused(t *testing.T) {
	other := strings.Replace(string(warren.OpenAPI), "{flag: --prefetch, default: 128", "{flag: --prefetch, default: 129", 1)
	if _, err := contract.New([]byte(other), warren.AsyncAPI); err == nil || !strings.Contains(err.Error(), "x-defaults") {
		t.Errorf("got %v", err)
	}
}
