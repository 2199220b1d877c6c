package suite

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// T is one run of a check against one gateway: what it does goes through its methods.
type T struct {
	*World
	*attempt
}

// attempt is one run of a check, whichever gateways it drives.
type attempt struct {
	check    Check
	ctx      context.Context //nolint:containedctx // it lives as long as the check, like testing.T
	mu       sync.Mutex      // guards the rest
	noted    map[string]bool
	trouble  []string // what fails all requirements of the check
	failures int
	cleanups []func()
	others   func() // lets the others start, nil if they do not wait
}

func newT(ctx context.Context, w *World, c Check) *T {
	return &T{w, &attempt{check: c, ctx: ctx, noted: map[string]bool{}}}
}

// Is records of a requirement whether it was kept, and what was seen; it returns ok.
func (t *T) Is(id string, ok bool, seen string, args ...any) bool {
	if !slices.Contains(t.check.Of, id) {
		panic(fmt.Sprintf("suite: the check %q does not name %s", t.check.Name, id))
	}
	t.mu.Lock()
	t.noted[id] = true
	if !ok {
		t.failures++
	}
	t.mu.Unlock()
	what := oneLine(fmt.Sprintf(seen, args...))
	t.board.note(id, ok, what)
	if !ok && t.board.progress != nil {
		t.board.mu.Lock()
		fmt.Fprintf(t.board.progress, "          %s: %s\n", id, what)
		t.board.mu.Unlock()
	}
	return ok
}

// Errorf fails all requirements of the check.
func (t *T) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trouble = append(t.trouble, oneLine(fmt.Sprintf(format, args...)))
}

// Fatalf fails all requirements of the check and ends it. Only the check's own goroutine may call it.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// Must ends the check at an error.
func (t *T) Must(err error) {
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// Context ends with the check.
func (t *T) Context() context.Context { return t.ctx }

// LetOthersStart ends the time in which a check that needs to be First has the gateway to itself.
func (t *T) LetOthersStart() {
	if t.others != nil {
		t.others()
	}
}

// Cleanup has f called when the check has ended, the last one first.
func (t *T) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *T) cleanUp() {
	for {
		t.mu.Lock()
		if len(t.cleanups) == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		t.mu.Unlock()
		f()
	}
}

// recover turns a panic into a failure, so that one check never ends the run.
func (t *T) recover() {
	if v := recover(); v != nil {
		stack := make([]byte, 4096)
		stack = stack[:runtime.Stack(stack, false)]
		t.Errorf("the check itself failed: %v %s", v, stack)
	}
}

// Eventually tries until f answers true, or fails the check after a while.
func (t *T) Eventually(within time.Duration, what string, f func() bool) bool {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if f() {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("not within %v: %s", within, what)
			return false
		case <-t.ctx.Done():
			t.Errorf("the check ran out of time: %s", what)
			return false
		}
	}
}

// Wait waits for a while.
func (t *T) Wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

// Name returns a name for an exchange that nobody else uses.
func (t *T) Name() string {
	return fmt.Sprintf("conformance.%s.%d", t.tag, t.names.Add(1))
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 600 {
		s = s[:600] + "…"
	}
	return s
}
