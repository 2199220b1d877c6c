package oracle

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// event is one of a subscription's log: a message, or a gap in which messages are missing.
type event struct {
	number int // of a message; 0: a gap
	reason string
	missed int64
	since  int // of a range: index of the event after which messages are missing
	lastN  int // of a gap: the newest message that it stands for
}

// story is a log and how one reader reads it.
type story struct {
	total  int
	log    []event
	maybes []int
}

// tell makes a log with losses of every kind that a log has.
func tell(t *rapid.T) *story {
	s := &story{}
	n := 1
	messages := func(label string, low int) {
		for range rapid.IntRange(low, 12).Draw(t, label) {
			s.log = append(s.log, event{number: n})
			n++
		}
	}
	messages("before", 2)
	for range rapid.IntRange(0, 4).Draw(t, "losses") {
		lost := rapid.IntRange(1, 6).Draw(t, "lost")
		switch rapid.SampledFrom([]string{"broker_reconnected", "queue_lost", "oversized", "queue_overflow"}).Draw(t, "reason") {
		case "queue_overflow":
			since := len(s.log) - 1
			missed := 0
			for range rapid.IntRange(1, 3).Draw(t, "runs") {
				missed += lost
				n += lost
				messages("between", 1)
			}
			s.log = append(s.log, event{reason: "queue_overflow", missed: int64(missed), since: since, lastN: n - 1})
		case "oversized":
			s.log = append(s.log, event{reason: "oversized", missed: 1, lastN: n})
			n++
		default:
			n += lost
			s.log = append(s.log, event{reason: "broker_reconnected", missed: Unknown, lastN: n - 1})
		}
		messages("after", 2)
	}
	s.total = n - 1
	return s
}

// truth publishes what the story needs. Messages in maybes are not confirmed.
func (s *story) truth() *Truth { return published(s.total, s.maybes...) }

// at is when an event has come at the earliest.
func (e *event) at() time.Duration { return time.Duration(max(e.number, e.lastN))*tick + 1 }

// frame is one that a reader gets.
type frame struct {
	at   time.Duration
	text string
	ask  *string // a new connection, with this position
	own  int     // 0, or 1 + the index of the event that it is
}

// read has a reader go through the log: straight on, with cuts, and with evictions if it is slow.
func (s *story) read(t *rapid.T, slow bool) []frame {
	none := ""
	frames := []frame{{ask: &none}, {text: `{"type":"ready","id":"s.0"}`}}
	now := time.Duration(0)
	for i := 0; i < len(s.log); i++ {
		switch act := rapid.IntRange(0, 19).Draw(t, "act"); {
		case act == 0:
			position := fmt.Sprintf("s.%d", i)
			frames = append(frames, frame{ask: &position}, frame{at: now, text: fmt.Sprintf(`{"type":"ready","id":%q,"resumed":true}`, position)})
		case act == 1 && slow:
			skip := rapid.IntRange(1, min(6, len(s.log)-i)).Draw(t, "evicted")
			var missed string
			now, missed = s.skip(now, i, i+skip)
			i += skip
			frames = append(frames, frame{at: now, text: fmt.Sprintf(`{"type":"gap","id":"s.%d","reason":"evicted","missed":%s}`, i, missed)})
		}
		if i < len(s.log) {
			now = max(now, s.log[i].at())
			frames = append(frames, frame{at: now, text: s.text(i), own: i + 1})
		}
	}
	return frames
}

// skip returns when the events from i to j have been evicted, and what they stand for.
func (s *story) skip(now time.Duration, i, j int) (time.Duration, string) {
	missed := int64(0)
	for _, e := range s.log[i:j] {
		now = max(now, e.at())
		switch {
		case e.number > 0:
			missed++
		case e.missed == Unknown || missed == Unknown:
			missed = Unknown
		default:
			missed += e.missed
		}
		if e.missed == Unknown {
			return s.unknown(now, i, j)
		}
	}
	return now, fmt.Sprint(missed)
}

func (s *story) unknown(now time.Duration, i, j int) (time.Duration, string) {
	for _, e := range s.log[i:j] {
		now = max(now, e.at())
	}
	return now, "null"
}

func (s *story) text(i int) string {
	e := &s.log[i]
	id := fmt.Sprintf("s.%d", i+1)
	if e.number > 0 {
		return fmt.Sprintf(`{"type":"message","id":%q,"payload":{"s":"a","n":%d}}`, id, e.number)
	}
	missed, since := "null", ""
	if e.missed != Unknown {
		missed = fmt.Sprint(e.missed)
	}
	if e.reason == "queue_overflow" {
		since = fmt.Sprintf(`,"since":"s.%d"`, e.since+1)
	}
	return fmt.Sprintf(`{"type":"gap","id":%q,"reason":%q,"missed":%s%s}`, id, e.reason, missed, since)
}

// play makes a record of frames.
func play(truth *Truth, name string, frames []frame) *Record {
	r := NewRecord(name, truth.Source("a", "a"))
	for _, f := range frames {
		if f.ask != nil {
			r.Connect(*f.ask)
			continue
		}
		r.Take(f.at, []byte(f.text))
	}
	return r
}

func TestHonestReadersAreAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := tell(t)
		// What was not confirmed may be in the log all the same, or missing with the rest.
		s.maybes = rapid.SliceOfN(rapid.IntRange(1, s.total), 0, 4).Draw(t, "maybes")
		truth := s.truth()
		records := []*Record{
			play(truth, "witness", s.read(t, false)), // sees every range that a slow one loses
			play(truth, "slow", s.read(t, true)),
			play(truth, "slower", s.read(t, true)),
		}
		if v := truth.Check(records...); !v.Accepted() {
			t.Fatalf("rejected: %q\nlog %+v", v.Problems, s.log)
		}
	})
}

// lies are changes of a log or of what a reader got of it, each of which must be noticed. They return false where they cannot be told.
var lies = map[string]func(t *rapid.T, s *story) (frames []frame, ok bool){
	"message twice": func(t *rapid.T, s *story) ([]frame, bool) {
		frames := s.read(t, false)
		i := s.anyMessage(t, frames)
		return slices.Insert(frames, i+1, frames[i]), true
	},
	"two messages in the wrong order": func(t *rapid.T, s *story) ([]frame, bool) {
		i, ok := s.neighbours(t)
		if !ok {
			return nil, false
		}
		s.log[i].number, s.log[i+1].number = s.log[i+1].number, s.log[i].number
		return s.read(t, false), true
	},
	"silent hole": func(t *rapid.T, s *story) ([]frame, bool) {
		i, ok := s.neighbours(t)
		if !ok || i == 0 || s.log[i-1].number == 0 || s.inRange(i) {
			return nil, false
		}
		s.remove(i)
		return s.read(t, false), true
	},
	"message left out on the way": func(t *rapid.T, s *story) ([]frame, bool) {
		frames := s.read(t, false)
		i := s.anyMessage(t, frames)
		return slices.Delete(frames, i, i+1), true
	},
	"last message left out": func(t *rapid.T, s *story) ([]frame, bool) {
		s.log = s.log[:len(s.log)-1]
		return s.read(t, false), true
	},
	"count off by one": func(t *rapid.T, s *story) ([]frame, bool) {
		i, ok := s.gap(t, func(e *event) bool { return e.missed != Unknown })
		if !ok {
			return nil, false
		}
		s.log[i].missed += int64(rapid.SampledFrom([]int{-1, 1}).Draw(t, "off"))
		return s.read(t, false), true
	},
	"gap one too early": func(t *rapid.T, s *story) ([]frame, bool) {
		i, ok := s.gap(t, func(e *event) bool { return e.reason != "queue_overflow" })
		if !ok || i == 0 || s.log[i-1].number == 0 || s.inRange(i) || s.inRange(i-1) {
			return nil, false
		}
		s.log[i], s.log[i-1] = s.log[i-1], s.log[i]
		return s.read(t, false), true
	},
	"gap forgotten": func(t *rapid.T, s *story) ([]frame, bool) {
		i, ok := s.gap(t, func(*event) bool { return true })
		if !ok {
			return nil, false
		}
		s.remove(i)
		return s.read(t, false), true
	},
	"gap before what it stands for was published": func(t *rapid.T, s *story) ([]frame, bool) {
		i, ok := s.gap(t, func(e *event) bool { return e.missed == Unknown })
		if !ok {
			return nil, false
		}
		s.log[i].lastN--
		s.log[i].number = 0
		frames := s.read(t, false)
		for k := range frames {
			if frames[k].own == i+1 { // it comes before the last of the missing ones begins
				frames[k].at = time.Duration(s.log[i].lastN)*tick + 1
			}
		}
		return frames, true
	},
	"resumed one too late": func(t *rapid.T, s *story) ([]frame, bool) {
		frames, i := s.cut(t)
		return slices.Delete(frames, i, i+1), true
	},
	"resumed one too early": func(t *rapid.T, s *story) ([]frame, bool) {
		frames, i := s.cut(t)
		return slices.Insert(frames, i, frames[i-3]), true
	},
}

// remove takes an event out of the log; ranges behind it still begin where they did.
func (s *story) remove(i int) {
	s.log = slices.Delete(s.log, i, i+1)
	for k := range s.log {
		if s.log[k].reason == "queue_overflow" && s.log[k].since >= i {
			s.log[k].since--
		}
	}
}

// neighbours returns the first of two messages that follow each other.
func (s *story) neighbours(t *rapid.T) (int, bool) {
	var all []int
	for i := 0; i+1 < len(s.log); i++ {
		if s.log[i].number > 0 && s.log[i+1].number == s.log[i].number+1 {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(all).Draw(t, "neighbours"), true
}

// inRange reports whether a message missing at the event could be one of an overflow's.
func (s *story) inRange(i int) bool {
	for k := i; k < len(s.log); k++ {
		if s.log[k].reason == "queue_overflow" && s.log[k].since <= i {
			return true
		}
	}
	return false
}

// gap returns a gap of the log that the condition holds for.
func (s *story) gap(t *rapid.T, condition func(*event) bool) (int, bool) {
	var all []int
	for i := range s.log {
		if s.log[i].number == 0 && condition(&s.log[i]) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(all).Draw(t, "gap"), true
}

// anyMessage returns the index of a message among frames.
func (s *story) anyMessage(t *rapid.T, frames []frame) int {
	var all []int
	for i := range frames {
		if frames[i].own > 0 && s.log[frames[i].own-1].number > 0 {
			all = append(all, i)
		}
	}
	return rapid.SampledFrom(all).Draw(t, "message")
}

// cut has the reader come back once, between two messages, and returns the index of the frame after the second ready.
func (s *story) cut(t *rapid.T) ([]frame, int) {
	i := rapid.IntRange(1, len(s.log)-1).Draw(t, "cut")
	none, position := "", fmt.Sprintf("s.%d", i)
	frames := []frame{{ask: &none}, {text: `{"type":"ready","id":"s.0"}`}}
	for k := range s.log {
		if k == i {
			frames = append(frames, frame{ask: &position}, frame{at: s.log[i-1].at(), text: fmt.Sprintf(`{"type":"ready","id":%q,"resumed":true}`, position)})
		}
		frames = append(frames, frame{at: s.log[k].at(), text: s.text(k), own: k + 1})
	}
	return frames, 2 + i + 2
}

func TestEveryLieIsNoticed(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := tell(t)
				truth := s.truth()
				frames, ok := lie(t, s)
				if !ok {
					return // this log has no place for it
				}
				if v := truth.Check(play(truth, "liar", frames)); v.Accepted() {
					t.Fatalf("accepted: %+v", frames)
				}
			})
		})
	}
}
