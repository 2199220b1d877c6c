package world

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo returns the address of a server that sends everything back.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback: it cannot block
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, link *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", link.Addr()) //nolint:noctx // loopback: it cannot block
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dialTrip sends a byte there and back over a new connection. A link that cuts
// connections may do so before this end knows that it has one.
func dialTrip(t *testing.T, link *Link) error {
	t.Helper()
	conn, err := net.Dial("tcp", link.Addr()) //nolint:noctx // loopback: it cannot block
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return trip(conn, []byte("x"), 10*time.Second)
}

func newLink(t *testing.T) *Link {
	t.Helper()
	link, err := NewLink(echo(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	return link
}

// trip sends data there and back.
func trip(conn net.Conn, data []byte, within time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	errs := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		errs <- err
	}()
	back := make([]byte, len(data))
	if _, err := io.ReadFull(conn, back); err != nil {
		_ = conn.Close() // ends the write
		return errors.Join(err, <-errs)
	}
	if !bytes.Equal(back, data) {
		return io.ErrUnexpectedEOF
	}
	return <-errs
}

func TestLinkHandsOnEveryByteInOrderInAnyWeather(t *testing.T) {
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for name, w := range map[string]Weather{
		"Fair":    {},
		"Slow":    {Latency: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Rate: 300_000},
		"Torn":    {Torn: true},
		"TornToo": {Torn: true, Latency: time.Millisecond, Rate: 1_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			link := newLink(t)
			link.Set(w)
			conn := dial(t, link)
			if err := trip(conn, data, 20*time.Second); err != nil {
				t.Error(err)
			}
			link.Set(Weather{})
			if err := trip(conn, data, 20*time.Second); err != nil {
				t.Error("when the weather is fair again:", err)
			}
		})
	}
}

func TestLatencyIsFeltBothWays(t *testing.T) {
	link := newLink(t)
	link.Set(Weather{Latency: 60 * time.Millisecond})
	begin := time.Now()
	if err := trip(dial(t, link), []byte("x"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 120*time.Millisecond {
		t.Errorf("there and back in %v", took)
	}
}

func TestSwallowedConnectionStaysOpenUntilTheWeatherChanges(t *testing.T) {
	link := newLink(t)
	conn := dial(t, link)
	if err := trip(conn, []byte("x"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	link.Set(Weather{Swallow: true})
	if err := conn.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if _, err := conn.Read(buf); !isTimeout(err) {
		t.Fatalf("want silence, got %v", err)
	}
	link.Set(Weather{})
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(buf); err == nil || isTimeout(err) {
		t.Fatalf("want the end, got %d bytes, %v", n, err)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestNetworkThatIsDownTakesNobody(t *testing.T) {
	link := newLink(t)
	before := dial(t, link)
	if err := trip(before, []byte("x"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	link.Set(Weather{Down: true})
	if err := trip(before, []byte("x"), 10*time.Second); err == nil {
		t.Error("a connection lives on")
	}
	if err := dialTrip(t, link); err == nil {
		t.Error("a new connection works")
	}
	link.Set(Weather{})
	if err := trip(dial(t, link), []byte("x"), 10*time.Second); err != nil {
		t.Error(err)
	}
}

func TestResetsStrikeAShareOfTheConnections(t *testing.T) {
	link := newLink(t)
	link.Set(Weather{Resets: 1, ResetWithin: time.Millisecond})
	conn, err := net.Dial("tcp", link.Addr()) //nolint:noctx // loopback: it cannot block
	if err == nil {
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || isTimeout(err) {
		t.Errorf("want a reset, got %v", err)
	}
}

func TestRetargetedLinkLeavesOldConnectionsWhereTheyAre(t *testing.T) {
	link := newLink(t)
	old := dial(t, link)
	if err := trip(old, []byte("x"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	link.Retarget("127.0.0.1:1")
	if err := dialTrip(t, link); err == nil {
		t.Error("a new connection goes where old ones went")
	}
	if err := trip(old, []byte("x"), 10*time.Second); err != nil {
		t.Error(err)
	}
}
