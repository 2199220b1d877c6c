package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Stream looks at the frames of one stream in their order: ready comes first (or a bye alone), ids follow one another,
// and nothing comes after bye.
type Stream struct {
	contract *Contract
	on       Transport
	seen     int
	messages int // of them
	ended    bool
	paused   map[string]bool // by scope
	stream   string          // of the newest id
	offset   uint64
	known    bool // there is a newest id
	lastGap  string
}

// NewStream looks at a new stream.
func (c *Contract) NewStream(on Transport) *Stream {
	return &Stream{contract: c, on: on, paused: map[string]bool{}}
}

// head is what the order of frames depends on.
type head struct {
	Type   string
	ID     *string
	Reason string
	Scope  string
	Stream string
}

// Of the messages of a stream the first are held against their schema, then one in so many: a reader in a flood, under the race
// detector, would be slower than the flood. Their ids are followed all the same, and all other frames are looked at whole.
const (
	wholeMessages = 500
	sampleMessage = 50
)

// Frame takes the next frame and returns its faults.
func (s *Stream) Frame(raw []byte) []string {
	var faults []string
	f, known := s.skim(raw)
	if !known {
		if err := s.contract.Frame(s.on, raw); err != nil {
			faults = append(faults, err.Error())
		}
		if json.Unmarshal(raw, &f) != nil {
			return faults
		}
	}
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("frame %d (%.120s): ", s.seen, raw)+fmt.Sprintf(format, args...))
	}
	s.seen++
	if s.ended {
		fault("it comes after bye")
	}
	if s.seen == 1 && f.Type != "ready" && f.Type != "bye" {
		fault("the first frame is neither ready nor bye")
	}
	if s.seen > 1 && f.Type == "ready" {
		fault("a second ready")
	}
	s.state(f, fault)
	if f.ID != nil {
		s.place(f, fault)
	}
	return faults
}

var messageStart = []byte(`{"type":"message","id":"`)

// skim reads the head of a message that need not be looked at whole. It reports false for all other frames.
func (s *Stream) skim(raw []byte) (f head, ok bool) {
	rest, is := bytes.CutPrefix(raw, messageStart)
	if !is {
		return head{}, false
	}
	s.messages++
	id, _, ended := bytes.Cut(rest, []byte{'"'})
	if s.messages <= wholeMessages || s.messages%sampleMessage == 0 || !ended || bytes.IndexByte(id, '\\') >= 0 {
		return head{}, false
	}
	text := string(id)
	return head{Type: "message", ID: &text}, true
}

// state follows pauses and the end.
func (s *Stream) state(f head, fault func(string, ...any)) {
	switch f.Type {
	case "bye":
		s.ended = true
	case "paused":
		if s.paused[f.Scope] {
			fault("paused twice")
		}
		s.paused[f.Scope] = true
	case "resumed":
		if !s.paused[f.Scope] {
			fault("resumed without paused")
		}
		delete(s.paused, f.Scope)
	case "ready":
	default:
		if f.ID != nil && len(s.paused) > 0 {
			fault("a frame with an id while paused")
		}
	}
}

// readersOwn are the gaps that take no offset.
var readersOwn = map[string]bool{"evicted": true, "unknown_position": true, "subscription_lost": true}

// place follows the ids.
func (s *Stream) place(f head, fault func(string, ...any)) {
	cut := strings.LastIndexByte(*f.ID, '.')
	if cut < 0 {
		return // the schema has told
	}
	offset, err := strconv.ParseUint((*f.ID)[cut+1:], 10, 64)
	if err != nil {
		return
	}
	stream := (*f.ID)[:cut]
	switch {
	case f.Type == "ready":
		// With a gap behind it, it repeats a position that may be of another stream.
		s.stream, s.offset, s.known = stream, offset, stream == f.Stream
		return
	case f.Type == "gap" && readersOwn[f.Reason]:
		if f.Reason == "evicted" && s.known && offset <= s.offset {
			fault("an evicted gap at %d after %d", offset, s.offset)
		}
	case f.Type == "bindings" && s.known && *f.ID == s.lastGap:
	case s.known && stream != s.stream:
		fault("the stream changed from %s", s.stream)
	case s.known && f.Type == "bindings" && offset >= s.offset:
		// A marker that was evicted, repeated under the id just before the next event.
	case s.known && offset != s.offset+1:
		fault("the id before it had the offset %d", s.offset)
	}
	s.lastGap = ""
	if f.Type == "gap" {
		s.lastGap = *f.ID
	}
	s.stream, s.offset, s.known = stream, offset, true
}
