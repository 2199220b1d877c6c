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

func TestNetworksOfIPv4AreIPv4HoweverTheyAreWritten(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:10.1.2.3/128": "10.1.2.3/32", "::ffff:0:0/96": "0.0.0.0/0",
		"2001:db8::/32": "2001:db8::/32", "::/0": "::/0",
		"::ffff:10.0.0.0/95": "", "::ffff:10.0.0.0/8": "", "10.0.0.0/33": "", "10.0.0.1": "",
	} {
		network, err := ParseNetwork(text)
		if (err != nil) != (want == "") || err == nil && network.String() != want {
			t.Errorf("%s is %s (%v), want %q", text, network, err, want)
		}
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
