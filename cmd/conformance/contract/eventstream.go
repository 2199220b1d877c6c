package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// EventStream looks at the lines of Server-Sent Events as they come: one retry: line at the start, then events whose event:,
// id: and retry: lines say what their one data: line holds. It parses as strictly as docs/protocol.md writes, not as
// leniently as a client has to.
type EventStream struct {
	report func(string)
	frames *Stream
	line   []byte
	begun  bool // the opening retry: line was seen
	event  event
}

// event is what the lines of one event say.
type event struct {
	lines           int
	name, id, retry *string
	data            []byte
	dataLines       int
}

// NewEventStream looks at a new event stream and reports each fault.
func (c *Contract) NewEventStream(report func(fault string)) *EventStream {
	return &EventStream{report: report, frames: c.NewStream(SSE)}
}

// Write takes the next bytes of the stream.
func (s *EventStream) Write(p []byte) {
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.line = append(s.line, p...)
			return
		}
		s.take(append(s.line, p[:i]...))
		s.line, p = s.line[:0], p[i+1:]
	}
}

func (s *EventStream) fault(format string, args ...any) {
	s.report("event stream: " + fmt.Sprintf(format, args...))
}

func (s *EventStream) take(line []byte) {
	if len(line) == 0 {
		s.dispatch()
		s.event = event{}
		return
	}
	s.event.lines++
	name, value, found := strings.Cut(string(line), ": ")
	if !found {
		s.fault("the line %.100q is no field", line)
		return
	}
	switch name {
	case "event":
		s.event.name = &value
	case "id":
		s.event.id = &value
	case "retry":
		s.event.retry = &value
	case "data":
		s.event.data = []byte(value)
		s.event.dataLines++
	default:
		s.fault("the line %.100q has an unknown field", line)
	}
}

// dispatch looks at a complete event.
func (s *EventStream) dispatch() {
	e := s.event
	if e.dataLines == 0 {
		if s.begun || e.retry == nil || e.lines != 1 {
			s.fault("an event without data (%d lines)", e.lines)
		}
		s.begun = true
		return
	}
	if e.dataLines > 1 {
		s.fault("%d data lines", e.dataLines)
	}
	for _, fault := range s.frames.Frame(e.data) {
		s.fault("%s", fault)
	}
	var f struct {
		Type  string
		ID    *string
		Retry *int `json:"retry_ms"`
	}
	if json.Unmarshal(e.data, &f) != nil {
		return // it was told
	}
	if !s.begun && f.Type != "bye" {
		s.fault("the stream does not open with retry:")
	}
	switch {
	case f.Type == "message" && e.name != nil:
		s.fault("a message has the line event: %s", *e.name)
	case f.Type != "message" && (e.name == nil || *e.name != f.Type):
		s.fault("a frame %q has the line event: %s", f.Type, text(e.name))
	}
	if text(f.ID) != text(e.id) {
		s.fault("a frame of id %s has the line id: %s", text(f.ID), text(e.id))
	}
	if (f.Type == "bye") != (e.retry != nil) {
		s.fault("a frame %q has the line retry: %s", f.Type, text(e.retry))
	}
	if f.Retry != nil && e.retry != nil && fmt.Sprint(*f.Retry) != *e.retry {
		s.fault("retry_ms is %d, retry: %s", *f.Retry, *e.retry)
	}
	s.begun = true
}

func text(s *string) string {
	if s == nil {
		return "(none)"
	}
	return *s
}
