package suite

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

// Need says what a check cannot do without.
type Need uint

// What a check may need.
const (
	Memory    Need = 1 << iota // exchanges of the gateway's own: --broker memory://
	AMQP                       // a RabbitMQ server that the suite may publish to
	Alone                      // that no other check runs: it uses up the caller's rates or caps
	Patient                    // much time, most of it waiting: it starts first
	First                      // the burst of requests, soon: the others wait until it has ended or called LetOthersStart
	Gateway                    // gateways of its own, in other configurations: Options.Binary
	Anonymous                  // that callers need no token: Options.Token is empty
	TLS                        // that the gateway is reached over https
	Oversized                  // messages above the gateway's bound, which memory:// takes only if the bound is small
	Direct                     // nothing between the suite and the gateway: Options.Front is nil
)

// Check tries something and records what it saw.
type Check struct {
	Name  string   // what is tried
	Of    []string // the requirements that it records, "P-1"
	Needs Need
	Run   func(*T)
}

// registry has all checks, in the order of the chapters.
var registry []Check

// register adds the checks of a chapter; the files of the chapters call it from init.
func register(checks ...Check) { registry = append(registry, checks...) }

// Checks returns all checks.
func Checks() []Check { return append([]Check(nil), registry...) }

// Options say which deployment is driven, and how.
type Options struct {
	// URL is where the gateway is.
	URL string
	// AMQPURL is the server behind it; "" with memory://.
	AMQPURL string
	// Token is sent with every request, where the gateway asks for one. It has to grant all of the exchanges conformance.*.
	Token string
	// Binary is a warren executable, of which gateways in other configurations are started for what no running gateway can
	// show (tokens, TLS, a drain, small bounds). Without it these requirements are left out.
	Binary string
	// Bounds are the values of flags (without dashes, durations in seconds) that are not at their default.
	Bounds map[string]float64
	// Front says that a proxy stands before URL, and puts one like it before each gateway that is started of Binary. nil: none.
	Front Front
	// Parallel is how many checks run at a time; 12 if 0.
	Parallel int
	// Patience is how long anything that must come may take; 15 s if 0.
	Patience time.Duration
	// Only limits the run to checks that name one of these requirements, if not empty.
	Only []string
	// Progress gets a line per check as it ends; nil: nothing.
	Progress io.Writer
}

// status is how a requirement fared.
type status int

// The statuses, from best to worst.
const (
	leftOut status = iota
	passed
	failed
)

func (s status) String() string { return [...]string{"left out", "passed", "failed"}[s] }

// Row is what is reported of one requirement.
type Row struct {
	ID     string // "P-1"
	Text   string // as docs/protocol.md has it
	Seen   string // what was seen, or why it is left out
	status status
}

// Passed tells whether the requirement was tried and kept.
func (r Row) Passed() bool { return r.status == passed }

// Failed tells whether it was broken.
func (r Row) Failed() bool { return r.status == failed }

// Status returns "passed", "failed" or "left out".
func (r Row) Status() string { return r.status.String() }

// Run runs the checks. The error is about the run itself, such as a gateway that cannot be reached; requirements that
// are broken are in the rows.
func Run(ctx context.Context, o Options) ([]Row, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("%q is no http(s) address", o.URL)
	}
	spec, err := contract.Load()
	if err != nil {
		return nil, err
	}
	board, err := newBoard(o.Progress)
	if err != nil {
		return nil, err
	}
	w := newWorld(o, base, spec, board)
	defer w.close()
	if err := w.meet(ctx); err != nil {
		return nil, err
	}
	if w.source, err = openSource(o.AMQPURL); err != nil {
		return nil, err
	}
	w.run(ctx, w.choose(o.Only))
	w.board.unseen(w.why)
	return w.board.rows(), nil
}

// choose returns the checks that fit the deployment.
func (w *World) choose(only []string) []Check {
	var out []Check
	for _, c := range registry {
		if w.why(c.Needs) == "" && (len(only) == 0 || names(c.Of, only)) {
			out = append(out, c)
		}
	}
	w.board.expect(len(out))
	return out
}

func names(of, only []string) bool {
	return slices.ContainsFunc(of, func(id string) bool { return slices.Contains(only, id) })
}

// why says why checks with these needs do not fit, or "".
func (w *World) why(needs Need) string {
	memory := w.options.AMQPURL == ""
	switch {
	case needs&Memory != 0 && !memory:
		return "the gateway has no exchanges of its own"
	case needs&AMQP != 0 && memory:
		return "needs RabbitMQ (--amqp)"
	case needs&Anonymous != 0 && w.options.Token != "":
		return "needs a gateway that asks for no token"
	case needs&TLS != 0 && !w.HTTPS():
		return "the gateway is not reached over https"
	case needs&Gateway != 0 && w.options.Binary == "":
		return "needs gateways in other configurations (--binary)"
	case needs&Direct != 0 && w.options.Front != nil:
		return "a proxy ends the connection that this is about"
	case needs&Oversized != 0 && memory && w.Bound("max-message-bytes") > publishable:
		return fmt.Sprintf("memory:// takes no message above --max-message-bytes %.0f", w.Bound("max-message-bytes"))
	}
	return ""
}

// run runs the checks: those that wait for long at once, the others a few at a time, and those that stand alone at the end.
func (w *World) run(ctx context.Context, checks []Check) {
	slots := make(chan struct{}, w.options.Parallel)
	var first, all sync.WaitGroup
	start := func(needs Need, skip Need) {
		for _, c := range checks {
			if c.Needs&skip != 0 || needs != 0 && c.Needs&needs == 0 {
				continue
			}
			t := newT(ctx, w, c)
			if c.Needs&First != 0 {
				first.Add(1)
				t.others = sync.OnceFunc(first.Done)
			}
			all.Go(func() {
				if c.Needs&Patient == 0 {
					slots <- struct{}{}
					defer func() { <-slots }()
				}
				t.try()
			})
		}
	}
	start(Patient, Alone)
	first.Wait()
	start(0, Alone|Patient)
	all.Wait()
	for _, c := range checks {
		if c.Needs&Alone != 0 {
			newT(ctx, w, c).try()
		}
	}
}

// checkTime bounds one check.
const checkTime = 50 * time.Second

// try runs the check.
func (t *T) try() {
	ctx, cancel := context.WithTimeout(t.ctx, checkTime)
	defer cancel()
	t.ctx = ctx
	began := time.Now()
	done := make(chan struct{})
	go func() { // ends with the check; Fatalf ends it early
		defer close(done)
		defer t.LetOthersStart()
		defer t.cleanUp()
		defer t.recover()
		t.check.Run(t)
	}()
	<-done
	t.board.record(t, time.Since(began))
}
