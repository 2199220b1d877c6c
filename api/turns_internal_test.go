package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestTurnsAreOnePerCallerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lists turns
		end, err := lists.take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan func(), 1)
		go func() {
			end, err := lists.take(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			second <- end
		}()
		synctest.Wait()
		if len(second) > 0 {
			t.Error("two at a time")
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := lists.take(gone, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("who is gone: %v", err)
		}
		other, err := lists.take(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()
		end()
		(<-second)()
		if len(lists.lines) != 0 {
			t.Errorf("%d lines are left", len(lists.lines))
		}
	})
}
