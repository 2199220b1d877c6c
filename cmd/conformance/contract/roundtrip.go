package contract

import (
	"bytes"
	"io"
	"mime"
	"net/http"
)

// RoundTripper returns a round tripper that holds all that passes through next against openapi.yaml, and the frames of event
// streams against asyncapi.yaml, and reports each fault. Bodies of documents are read to their end before they are passed
// on; streams are looked at as they are read. The answer itself is never changed. report is called from the goroutine
// that makes the request or reads the stream.
func (c *Contract) RoundTripper(next http.RoundTripper, report func(fault string)) http.RoundTripper {
	return &roundTripper{c, next, report}
}

type roundTripper struct {
	contract *Contract
	next     http.RoundTripper
	report   func(string)
}

// RoundTrip implements http.RoundTripper.
func (t *roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close() // it was read to its end
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	var answer []byte
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols || r.Method == http.MethodHead:
	case kind == "text/event-stream" && resp.StatusCode == http.StatusOK:
		resp.Body = &watchedStream{ReadCloser: resp.Body, stream: t.contract.NewEventStream(t.report)}
	default:
		answer, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(answer))
	}
	for _, fault := range t.contract.Exchange(r, sent, resp, answer) {
		t.report(fault)
	}
	return resp, nil
}

// CloseIdleConnections is what http.Client calls.
func (t *roundTripper) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// watchedStream shows what is read to an EventStream.
type watchedStream struct {
	io.ReadCloser
	stream *EventStream
}

func (w *watchedStream) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.stream.Write(p[:n])
	return n, err
}
