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
