package oracle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Position is an event id, taken apart.
type Position struct {
	Stream string
	Offset uint64
}

// ParsePosition takes an event id apart. The zero Position stands for none.
func ParsePosition(id string) (Position, error) {
	i := strings.LastIndexByte(id, '.')
	if i < 1 {
		return Position{}, fmt.Errorf("%q is no event id", id)
	}
	offset, err := strconv.ParseUint(id[i+1:], 10, 64)
	if err != nil {
		return Position{}, fmt.Errorf("%q is no event id", id)
	}
	return Position{Stream: id[:i], Offset: offset}, nil
}

// String returns the event id, "" for none.
func (p Position) String() string {
	if p == (Position{}) {
		return ""
	}
	return p.Stream + "." + strconv.FormatUint(p.Offset, 10)
}

// Frame is what the oracle and clients read of a frame.
type Frame struct {
	Type         string
	ID           string
	Subscription string // its id, in ready
	Resumed      bool
	Bye          Bye
	item         Item
}

// Bye is the last frame of a stream.
type Bye struct {
	Code      int    `json:"code"`
	Reason    string `json:"reason"`
	Reconnect bool   `json:"reconnect"`
	RetryMS   int    `json:"retry_ms"`
}

// wireFrame has the fields of every type of frame that matter here.
type wireFrame struct {
	Bye
	Type         string  `json:"type"`
	ID           string  `json:"id"`
	Subscription string  `json:"subscription"`
	Resumed      bool    `json:"resumed"`
	Missed       *int64  `json:"missed"`
	Since        string  `json:"since"`
	Payload      *Number `json:"payload"`
	Bindings     []struct {
		Exchange string `json:"exchange"`
		State    string `json:"state"`
	} `json:"bindings"`
}

// Number is the body of a numbered message, as JSON.
type Number struct {
	Source string `json:"s"`
	Number int    `json:"n"`
	// Pad makes the message as large as it shall be.
	Pad string `json:"pad,omitempty"`
}

// Parse reads a frame. Types that say nothing about messages have no item.
func Parse(data []byte) (Frame, error) {
	var w wireFrame
	if err := json.Unmarshal(data, &w); err != nil {
		return Frame{}, fmt.Errorf("a frame that cannot be read: %w: %.200s", err, data)
	}
	f := Frame{Type: w.Type, ID: w.ID, Subscription: w.Subscription, Resumed: w.Resumed, Bye: w.Bye}
	var pos, since Position
	var err error
	if w.ID != "" {
		if pos, err = ParsePosition(w.ID); err != nil {
			return f, err
		}
	}
	if w.Since != "" {
		if since, err = ParsePosition(w.Since); err != nil {
			return f, err
		}
	}
	f.item = Item{Pos: pos, Since: since, Reason: w.Reason, Resumed: w.Resumed, Missed: Unknown}
	if w.Missed != nil {
		f.item.Missed = *w.Missed
	}
	for _, b := range w.Bindings {
		if b.State == "missing" && !slices.Contains(f.item.Missing, b.Exchange) {
			f.item.Missing = append(f.item.Missing, b.Exchange)
		}
	}
	switch w.Type {
	case "ready":
		f.item.Kind = Ready
	case "gap":
		f.item.Kind = Gap
	case "bindings":
		f.item.Kind = Bindings
	case "message":
		if w.Payload == nil || w.Payload.Source == "" {
			return f, fmt.Errorf("a message without a number: %.200s", data)
		}
		f.item.Kind, f.item.Source, f.item.First, f.item.Count = Run, w.Payload.Source, w.Payload.Number, 1
	}
	return f, nil
}
