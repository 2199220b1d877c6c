package broker

import (
	"testing"
	"time"
)

// TestClockThatIsSetBackEndsNobodysSubscriptionTooLate has the timer fire while
// by the wall's clock there is some time left.
func TestClockThatIsSetBackEndsNobodysSubscriptionTooLate(t *testing.T) {
	s := &Subscription{expires: time.Now().Add(time.Hour)}
	s.expiryTimer = time.AfterFunc(2*time.Hour, func() {})
	s.expiryTimer.Stop()
	s.expired()
	if s.ended != nil || !s.expiryTimer.Stop() {
		t.Errorf("ended %v, or nothing will end it", s.ended)
	}
}

// TestEndInTheYear9999IsWaitedForInDays has an end that is further away than a
// time.Duration can say: a sum beyond it would be negative, and the timer fire at
// once, for ever.
func TestEndInTheYear9999IsWaitedForInDays(t *testing.T) {
	s := &Subscription{expires: time.Unix(253402300799, 0)}
	if wait := s.expiryWait(); wait <= 0 || wait > 25*time.Hour {
		t.Errorf("the timer waits for %v", wait)
	}
}

// TestExpiryOfWhatHasEndedIsNotWaitedFor has the timer's function wait for the
// mutex while the subscription ends.
func TestExpiryOfWhatHasEndedIsNotWaitedFor(t *testing.T) {
	s := &Subscription{expires: time.Now().Add(time.Hour), ended: &End{Reason: EndDeleted}}
	s.expiryTimer = time.AfterFunc(2*time.Hour, func() {})
	s.expiryTimer.Stop()
	s.expired()
	if s.expiryTimer.Stop() {
		t.Error("a timer is left that holds what has ended")
	}
}
