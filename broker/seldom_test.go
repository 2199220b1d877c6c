package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/warren-gateway/warren/broker"
)

func TestWhatWasNotLoggedIsToldWithTheNext(t *testing.T) {
	var s broker.Seldom[string]
	var got string
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	for _, seconds := range []int{0, 1, 9, 10, 11, 30, 31} {
		if skipped, due := s.Due("gone", at(seconds)); due {
			got += fmt.Sprintf("%d s: %d; ", seconds, skipped)
		}
	}
	if want := "0 s: 0; 10 s: 2; 30 s: 1; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if skipped, due := s.Due("slow", at(31)); skipped != 0 || !due {
		t.Errorf("another kind: %d, %v", skipped, due)
	}
}
