package suite

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

// sseEvent is the lines of one event.
type sseEvent struct {
	Lines []string
	Data  int // how many data: lines
}

// Line returns the value of the first line with the name, and whether there is one.
func (e *sseEvent) Line(name string) (string, bool) {
	for _, line := range e.Lines {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimPrefix(value, " "), true
		}
	}
	return "", false
}

// SSE opens a stream of Server-Sent Events, as an EventSource would unless the header says otherwise.
func (t *T) SSE(path string, h http.Header) *Stream { return t.sseOn(t.transport, path, h) }

// sseOn opens a stream over a transport.
func (t *T) sseOn(transport http.RoundTripper, path string, h http.Header) *Stream {
	t.makeRoom(path)
	if err := t.requests.Wait(t.ctx); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return t.sseNow(transport, path, h)
}

// sseUnlimited opens a stream that the suite's own limiters do not hold back.
func (t *T) sseUnlimited(path string) *Stream { return t.sseNow(t.transport, path, nil) }

func (t *T) sseNow(transport http.RoundTripper, path string, h http.Header) *Stream {
	if h == nil {
		h = header()
	}
	if _, given := h["Accept"]; !given {
		h.Set("Accept", "text/event-stream")
	}
	req := t.request(Call{Method: http.MethodGet, Path: path, Header: h})
	ctx, cancel := context.WithCancel(t.ctx)
	s := t.newStream(path)
	s.hang = cancel
	resp, err := t.client(transport).Do(req.WithContext(ctx)) //nolint:bodyclose // who reads the stream closes it
	if err != nil {
		close(s.ended)
		t.Fatalf("GET %s: %v", path, err)
	}
	s.Status, s.Header = resp.StatusCode, resp.Header
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		raw, _ := io.ReadAll(resp.Body) // what there is is what is shown
		_ = resp.Body.Close()
		s.Refuse = reply(resp, raw)
		s.end(io.EOF)
		return s
	}
	go func() { // ends with the response, which Hang ends
		defer resp.Body.Close()
		s.end(s.readEvents(resp.Body))
	}()
	return s
}

// readEvents reads events until the end of the response, and returns io.EOF if it was a clean one.
func (s *Stream) readEvents(body io.Reader) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	var e sseEvent
	var data []string
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && line+strings.Join(e.Lines, "") != "" {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		if line != "" {
			e.Lines = append(e.Lines, line)
			if value, ok := strings.CutPrefix(line, "data:"); ok {
				data = append(data, strings.TrimPrefix(value, " "))
			}
			continue
		}
		e.Data = len(data)
		if len(data) > 0 {
			event := e
			s.add([]byte(strings.Join(data, "\n")), &event)
		} else if retry, ok := e.Line("retry"); ok {
			s.mu.Lock()
			s.retry = retry
			s.mu.Unlock()
		}
		e, data = sseEvent{}, nil
	}
}

// makeRoom waits until a stream that may make a subscription may do so.
func (t *T) makeRoom(path string) {
	if !strings.HasPrefix(path, "/v1/sse") && !strings.HasPrefix(path, "/v1/ws") {
		return
	}
	if err := t.creates.Wait(t.ctx); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}
