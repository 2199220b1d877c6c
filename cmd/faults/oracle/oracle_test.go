package oracle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tick is the time between two publications; message n begins at n ticks.
const tick = 10 * time.Millisecond

// published returns a truth with one source of so many messages, all confirmed but those named.
func published(messages int, maybe ...int) *Truth {
	truth := NewTruth()
	s := truth.Source("a", "a")
	for n := 1; n <= messages; n++ {
		s.Confirm(s.Begin(time.Duration(n) * tick))
	}
	for _, n := range maybe {
		s.Excuse(n, n)
	}
	return truth
}

// record plays a script of words: "connect[:position]", "ready:ID", "resumed:ID", "m:OFFSET:FIRST-LAST", "gap:REASON:ID:MISSED[:SINCE]",
// "missing:ID", "bound:ID", "fresh", "end", "@N" for the time of message N.
func record(t *testing.T, truth *Truth, script string) *Record {
	t.Helper()
	r := NewRecord("client", truth.Source("a", "a"))
	var now time.Duration
	for word := range strings.FieldsSeq(script) {
		p := strings.Split(word, ":")
		switch p[0] {
		case "connect":
			r.Connect(strings.Join(p[1:], ":"))
		case "ready":
			r.Take(now, fmt.Appendf(nil, `{"type":"ready","id":%q,"bindings":[]}`, p[1]))
		case "resumed":
			r.Take(now, fmt.Appendf(nil, `{"type":"ready","id":%q,"resumed":true}`, p[1]))
		case "m":
			var offset, first, last int
			if _, err := fmt.Sscanf(p[1]+" "+p[2], "%d %d-%d", &offset, &first, &last); err != nil {
				t.Fatal(err)
			}
			for n := first; n <= last; n++ {
				now = max(now, time.Duration(n)*tick+1)
				r.Take(now, fmt.Appendf(nil, `{"type":"message","id":"s.%d","payload":{"s":"a","n":%d}}`, offset+n-first, n))
			}
		case "gap":
			since := ""
			if len(p) > 4 {
				since = fmt.Sprintf(`,"since":%q`, p[4])
			}
			r.Take(now, fmt.Appendf(nil, `{"type":"gap","reason":%q,"id":%q,"missed":%s%s}`, p[1], p[2], p[3], since))
		case "missing", "bound":
			r.Take(now, fmt.Appendf(nil, `{"type":"bindings","id":%q,"bindings":[{"exchange":"a","state":%q}]}`, p[1], p[0]))
		case "fresh":
			r.Fresh(now)
		case "end":
			r.End()
		default:
			var n int
			if _, err := fmt.Sscanf(word, "@%d", &n); err != nil {
				t.Fatal(err)
			}
			now = time.Duration(n)*tick + 1
		}
	}
	return r
}

// open is how most scripts begin.
const open = "connect ready:s.0 "

// judgements are scripts and what the oracle says of them.
var judgements = []struct {
	name    string
	script  string
	maybe   []int
	problem string // "" when it is accepted
}{
	{"EverythingInOrder", open + "m:1:1-20", nil, ""},
	{"WhatWasPublishedBeforeReadyNeedNotCome", "connect @5 ready:s.0 m:1:6-20", nil, ""},
	{"ButMayCome", "connect @5 ready:s.0 m:1:3-20", nil, ""},
	{"WhatWasPublishedAfterReadyMustCome", "connect @5 ready:s.0 m:1:7-20", nil, "missing without a gap: 6 to 6"},
	{"TheLastMustCome", open + "m:1:1-19", nil, "missing without a gap: 20 to 20"},
	{"TheLastNeedNotComeToWhoLeaves", open + "m:1:1-19 end", nil, ""},
	{"NothingAtAll", "connect", nil, "nothing came"},
	{"SilentHole", open + "m:1:1-9 m:10:11-20", nil, "missing without a gap: 10 to 10"},
	{"UnconfirmedMayBeMissing", open + "m:1:1-9 m:10:11-20", []int{10}, ""},
	{"DuplicateID", open + "m:1:1-10 m:10:10-20", nil, "twice"},
	{"DuplicateNumber", open + "m:1:1-10 m:11:10-20", nil, "twice"},
	{"OffsetLeftOut", open + "m:1:1-10 m:12:11-20", nil, "offsets are left out"},
	{"Invented", open + "m:1:1-21", nil, "never published"},
	{"OtherStream", open + "m:1:1-10 gap:broker_reconnected:x.11:null", nil, "comes right after"},

	{"NullGap", open + "m:1:1-9 @12 gap:broker_reconnected:s.10:null m:11:13-20", nil, ""},
	{"NullGapThatIsNone", open + "m:1:1-9 gap:broker_reconnected:s.10:null m:11:10-20", nil, ""},
	{"NullGapOneTooEarly", open + "m:1:1-9 @13 gap:broker_reconnected:s.10:null m:11:10-10 m:12:13-20", nil, "missing without a gap: 11 to 12"},
	{"TwoRunsForOneNull", open + "m:1:1-9 @12 gap:broker_reconnected:s.10:null m:11:12-15 m:15:17-20", nil, "missing without a gap: 16 to 16"},
	{"NullGapThatHidesWhatIsPublishedLater", open + "m:1:1-9 @12 gap:broker_reconnected:s.10:null m:11:14-20", nil, "missing without a gap: 13 to 13"},

	{"Oversized", open + "m:1:1-9 @10 gap:oversized:s.10:1 m:11:11-20", nil, ""},
	{"ExactGapOneTooFew", open + "m:1:1-9 @12 gap:oversized:s.10:2 m:11:13-20", nil, "does not add up"},
	{"ExactGapOneTooMany", open + "m:1:1-9 @12 gap:oversized:s.10:4 m:11:13-20", nil, "does not add up"},
	{"ExactGapWithoutALoss", open + "m:1:1-9 @12 gap:oversized:s.10:1 m:11:10-20", nil, "nothing is missing"},
	{"ExactGapCountsUnconfirmedOrNot", open + "m:1:1-9 @12 gap:oversized:s.10:2 m:11:13-20", []int{11}, ""},
	{"ExactGapMovedByOne", open + "m:1:1-9 @13 m:10:13-13 gap:oversized:s.11:3 m:12:14-20", nil, "missing without a gap"},

	{"Evicted", open + "m:1:1-5 @15 gap:evicted:s.12:7 m:13:13-20", nil, ""},
	{"EvictedOneTooMany", open + "m:1:1-5 @15 gap:evicted:s.12:8 m:13:13-20", nil, "does not add up"},
	{"EvictedAtItsOwnPlace", open + "m:1:1-5 @15 gap:evicted:s.5:1 m:6:6-20", nil, "gap evicted"},
	{"EvictedMarkerFollowsItsGap", open + "m:1:1-5 @15 gap:evicted:s.13:7 bound:s.13 m:14:13-20", nil, ""},

	{"Overflow", open + "m:1:1-9 m:10:12-14 gap:queue_overflow:s.13:2:s.8 m:14:15-20", nil, ""},
	{"OverflowOfSeveralRuns", open + "m:1:1-9 m:10:11-14 m:14:16-17 gap:queue_overflow:s.16:2:s.8 m:17:18-20", nil, ""},
	{"OverflowBeforeItsRange", open + "m:1:1-9 m:10:12-14 gap:queue_overflow:s.13:2:s.10 m:14:15-20", nil, "does not add up|without a gap"},
	{"OverflowOneTooFew", open + "m:1:1-9 m:10:12-14 gap:queue_overflow:s.13:1:s.8 m:14:15-20", nil, "does not add up"},
	{"OverflowOneTooMany", open + "m:1:1-9 m:10:12-14 gap:queue_overflow:s.13:3:s.8 m:14:15-20", nil, "does not add up"},
	{"OverflowWithoutCount", open + "m:1:1-9 m:10:12-14 gap:queue_overflow:s.13:null:s.8 m:14:15-20", nil, ""},
	{"OverflowAfterItsFrame", open + "m:1:1-9 gap:queue_overflow:s.10:2:s.8 m:11:10-11 m:13:14-20", nil, "without a gap"},

	{"BindingLost", open + "m:1:1-5 gap:binding_lost:s.6:null missing:s.7 m:8:6-6 m:9:10-11 bound:s.11 m:12:12-20", nil, ""},
	{"BindingLostTwoRuns", open + "m:1:1-5 gap:binding_lost:s.6:null missing:s.7 m:8:6-6 m:9:10-11 m:11:13-13 bound:s.12 m:13:14-20", nil, "without a gap: 12 to 12"},
	{"BindingLostButBoundAgain", open + "m:1:1-5 gap:binding_lost:s.6:null missing:s.7 m:8:6-6 bound:s.9 m:10:7-11 m:15:13-20", nil, "without a gap: 12 to 12"},

	{"BindingLostAndWhatWasQueuedBeforeComesLate", open + "m:1:1-5 @9 gap:binding_lost:s.6:null missing:s.7 bound:s.8 m:9:6-6 m:10:9-20", nil, ""},
	{"BindingLostTwoRunsThatComeLate", open + "m:1:1-5 @9 gap:binding_lost:s.6:null missing:s.7 bound:s.8 m:9:6-6 m:10:8-8 m:11:10-20", nil, "without a gap: 9 to 9"},
	{"BindingLostWithoutAGap", open + "m:1:1-5 missing:s.6 m:7:6-6 m:8:10-11 bound:s.10 m:11:12-20", nil, "without a gap: 7 to 9"},
	{"BindingLostTwice", open + "m:1:1-5 @9 gap:binding_lost:s.6:null missing:s.7 bound:s.8 gap:binding_lost:s.9:null missing:s.10 bound:s.11 m:12:6-6 m:13:8-8 m:14:10-20", nil, ""},

	{"Resumed", open + "m:1:1-5 connect:s.5 resumed:s.5 m:6:6-20", nil, ""},
	{"ResumedOneTooEarly", open + "m:1:1-5 connect:s.5 resumed:s.5 m:5:5-20", nil, "twice"},
	{"ResumedOneTooLate", open + "m:1:1-5 connect:s.5 resumed:s.5 m:7:7-20", nil, "offsets are left out"},
	{"ResumedSomewhereElse", open + "m:1:1-5 connect:s.5 resumed:s.4 m:5:6-20", nil, "asked for s.5"},
	{"NotResumedWithoutAGap", open + "m:1:1-5 connect:s.5 ready:s.5 m:6:6-20", nil, "without a gap"},
	{"SubscriptionLost", "connect ready:x.0 connect:x.0 @9 ready:x.0 gap:subscription_lost:s.0:null m:1:10-20", nil, ""},
	{"SubscriptionLostHidesNothingLater", "connect ready:x.0 connect:x.0 @9 ready:x.0 gap:subscription_lost:s.0:null m:1:11-20", nil, "without a gap: 10 to 10"},
	{"PositionLostWithoutReason", open + "m:1:1-5 gap:subscription_lost:s.5:null m:6:6-20", nil, "no position was lost"},
	{"Fresh", "connect ready:x.0 @9 fresh connect ready:s.0 m:1:10-20", nil, ""},
	{"FreshMustDeliverToo", "connect ready:x.0 @9 fresh connect ready:s.0 m:1:11-20", nil, "without a gap: 10 to 10"},
	{"MessageBeforeReady", "connect m:1:1-20", nil, "the first frame of a connection"},
}

func TestOracleJudges(t *testing.T) {
	for _, c := range judgements {
		t.Run(c.name, func(t *testing.T) {
			truth := published(20, c.maybe...)
			wantVerdict(t, truth.Check(record(t, truth, c.script)), c.problem)
		})
	}
}

func wantVerdict(t *testing.T, v Verdict, problem string) {
	t.Helper()
	text := strings.Join(v.Problems, "\n")
	if problem == "" {
		if !v.Accepted() {
			t.Errorf("rejected: %s", text)
		}
		return
	}
	for option := range strings.SplitSeq(problem, "|") {
		if strings.Contains(text, option) {
			return
		}
	}
	t.Errorf("want a problem with %q, got: %s", problem, text)
}

func TestOneIDStandsForOneMessageWhoeverReadsIt(t *testing.T) {
	truth := published(20, 1)
	one := record(t, truth, "connect ready:s.0 m:1:1-20")
	other := record(t, truth, "connect ready:s.0 m:1:2-20")
	wantVerdict(t, truth.Check(one), "")
	wantVerdict(t, truth.Check(other), "")
	wantVerdict(t, truth.Check(one, other), "stands for two things")
}

func TestEvictedCountIncludesARangeThatBeganBeforeIt(t *testing.T) {
	truth := published(20)
	witness := record(t, truth, "connect ready:s.0 m:1:1-4 m:5:6-10 gap:queue_overflow:s.10:1:s.3 m:11:11-20")
	slow := record(t, truth, "connect ready:s.0 m:1:1-4 m:5:6-8 @15 gap:evicted:s.12:5 m:13:13-20")
	wantVerdict(t, truth.Check(witness, slow), "")
	wantVerdict(t, truth.Check(slow), "does not add up|without a gap")
}

func TestCountOfTwoSourcesIsSharedBetweenThem(t *testing.T) {
	for missed, problem := range map[int]string{2: "does not add up", 3: "", 4: "does not add up"} {
		truth := published(20)
		b := truth.Source("b", "b")
		for n := 1; n <= 20; n++ {
			b.Confirm(b.Begin(time.Duration(n) * tick))
		}
		r := NewRecord("client", truth.Source("a", "a"), b)
		r.Connect("")
		offset := 0
		take := func(format string, args ...any) {
			offset++
			r.Take(time.Duration(offset)*tick, fmt.Appendf(nil, format, args...))
		}
		r.Take(0, []byte(`{"type":"ready","id":"s.0"}`))
		for n := 1; n <= 20; n++ {
			if n == 11 {
				offset += 9
				r.Take(11*tick, fmt.Appendf(nil, `{"type":"gap","reason":"evicted","id":"s.%d","missed":%d}`, offset, missed))
			}
			if n != 10 {
				take(`{"type":"message","id":"s.%d","payload":{"s":"a","n":%d}}`, offset+1, n)
			}
			if n != 9 && n != 10 {
				take(`{"type":"message","id":"s.%d","payload":{"s":"b","n":%d}}`, offset+1, n)
			}
		}
		wantVerdict(t, truth.Check(r), problem)
	}
}
