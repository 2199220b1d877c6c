package matrix

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/warren-gateway/warren/cmd/faults/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPairNeedsWhatBothNeed(t *testing.T) {
	a := Setup{Own: true, Load: world.Load{Rate: 100, Pad: 10}, DeadAfter: time.Minute, Sources: 2, Env: []string{"A=1"}}
	b := Setup{ClientLink: true, Events: true, TLS: true, Load: world.Load{Rate: 200}, DeadAfter: time.Second, Env: []string{"B=1"}}
	for name, got := range map[string]Setup{"ab": a.merge(b), "ba": b.merge(a)} {
		if !got.Own || !got.ClientLink || !got.Events || !got.TLS || got.BrokerLink || got.Sources != 2 ||
			got.Load != (world.Load{Rate: 200, Pad: 10}) || got.DeadAfter != time.Second || len(got.Env) != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := a.merge(Setup{}); got.DeadAfter != time.Minute {
		t.Errorf("a fault that does not care sets DeadAfter to %v", got.DeadAfter)
	}
}

func TestCellIsRedWhenItsFaultLeftNoTraceOrOneTooMany(t *testing.T) {
	for _, c := range []struct {
		name     string
		fault    Fault
		gaps     map[string]int
		problems int
	}{
		{"Trace", Fault{Leaves: []string{"evicted"}}, map[string]int{"evicted": 1}, 0},
		{"OneOfTwo", Fault{Leaves: []string{"evicted", "oversized"}}, map[string]int{"oversized": 1}, 0},
		{"NoTrace", Fault{Leaves: []string{"evicted"}}, map[string]int{"oversized": 1}, 1},
		{"Quiet", Fault{Quiet: true}, nil, 0},
		{"NotQuiet", Fault{Quiet: true}, map[string]int{"evicted": 1}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := unexpected(Cell{Fault: c.fault}, c.gaps); len(got) != c.problems {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestRandomPairsFollowFromTheSeed(t *testing.T) {
	one, same, other := RandomPairs(1, 30), RandomPairs(1, 30), RandomPairs(2, 30)
	differ := false
	for i := range one {
		if one[i].ID() != same[i].ID() {
			t.Errorf("%q is %q the second time", one[i].ID(), same[i].ID())
		}
		differ = differ || one[i].ID() != other[i].ID()
	}
	if len(one) != 30 || !differ {
		t.Errorf("%d pairs, other seed differs: %v", len(one), differ)
	}
}

func TestTableSaysWhatIsWrong(t *testing.T) {
	var out bytes.Buffer
	cells := Select(Cells(), regexp.MustCompile("^queue deleted × by id$"), false)
	table := NewTable(&out, cells)
	table.Add(Result{Cell: cells[0], Runs: 2, Faults: 5, Messages: 1234, Gaps: map[string]int{"queue_lost": 5}})
	table.Add(Result{Cell: cells[0], Runs: 1, Problems: []string{"seed 7: missing without a gap"}})
	table.Sum(time.Minute)
	for _, want := range []string{"queue deleted × by id", "1234", "queue_lost 5", "accepted", "REJECTED", "seed 7: missing without a gap", "2 cells, 1 rejected, 5 faults"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
