package rabbitmq

import (
	"testing"
	"testing/synctest"
)

func TestGateLetsUrgentOnesThroughFirstAndForgetsWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		never, giveUp := make(chan struct{}), make(chan struct{})
		if !g.enter(never, false) {
			t.Fatal("an empty gate refused")
		}
		order := make(chan string, 4)
		wait := func(name string, done chan struct{}, urgent bool) {
			go func() {
				if g.enter(done, urgent) {
					order <- name
				} else {
					order <- name + " gave up"
				}
			}()
			synctest.Wait()
		}
		wait("first", never, false)
		wait("impatient", giveUp, true)
		wait("second", never, false)
		wait("urgent", never, true)
		close(giveUp)
		synctest.Wait()
		for _, want := range []string{"impatient gave up", "urgent", "first", "second"} {
			if want != "impatient gave up" {
				g.leave()
				synctest.Wait()
			}
			if got := <-order; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		g.leave()
		if !g.enter(never, false) {
			t.Error("the gate is not free again")
		}
	})
}
