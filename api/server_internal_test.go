package api

import (
	"testing"
	"time"
)

// TestClockThatIsSetBackEndsNobodysStreamTooLate has the timer of a token's end
// fire while by the wall's clock there is some time left.
func TestClockThatIsSetBackEndsNobodysStreamTooLate(t *testing.T) {
	s := &session{}
	s.caller.Expires = time.Now().Add(time.Hour)
	s.expiry = time.AfterFunc(2*time.Hour, func() {})
	s.expiry.Stop()
	s.expired()
	if !s.expiry.Stop() {
		t.Error("nothing will end the stream")
	}
}

func TestConnectionsLeaveRoomForOtherFiles(t *testing.T) {
	for _, c := range []struct{ want, files, most int }{
		{62564, 1 << 20, 62564}, {62564, 20000, 19744}, {62564, 300, 150}, {62564, 1, 1}, {62564, 0, 62564}, {0, 0, 0}, {0, 20000, 19744}, {100, 20000, 100},
	} {
		if got := connectionsWithin(c.want, c.files); got != c.most {
			t.Errorf("%d wanted, %d files: %d, want %d", c.want, c.files, got, c.most)
		}
	}
	if n := openFiles(); n < 0 {
		t.Errorf("%d files", n)
	}
}
