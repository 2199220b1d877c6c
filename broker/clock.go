package broker

import (
	"math"
	"strconv"
	"time"
)

// epoch is when the process began.
var epoch = time.Now()

// Epoch returns the zero of the clock of Frame.Received: differences on it are
// right also when somebody sets the machine's clock.
func Epoch() time.Time { return epoch }

func sinceEpoch(t time.Time) time.Duration { return t.Sub(epoch) }

// age is how long ago a message was published when it was received: 0 if nobody
// knows, else milliseconds and one. It takes the room that a frame has left.
type age uint32

func (a age) duration() (time.Duration, bool) {
	if a == 0 {
		return 0, false
	}
	return time.Duration(a-1) * time.Millisecond, true
}

// A stamp that is further off than this is no time of publication in the unit
// that was agreed on: publishers put seconds, milliseconds and other things into
// timestamp. What is a little in the future is a clock that is a little off.
const (
	maxAge  = 24 * time.Hour
	maxSkew = time.Minute
)

// ageOf reads the publisher's stamp.
func (b *Broker) ageOf(p *Properties, now time.Time) age {
	var published int64 // milliseconds since 1970
	switch {
	case b.stamp != "":
		var ok bool
		if published, ok = milliseconds(p.Headers[b.stamp]); !ok {
			return 0
		}
	case p.HasTimestamp && p.Timestamp < math.MaxInt64/1000:
		published = int64(p.Timestamp) * 1000
	default:
		return 0
	}
	switch ms := now.UnixMilli() - published; {
	case published <= 0 || ms > maxAge.Milliseconds() || ms < -maxSkew.Milliseconds():
		return 0
	default:
		return age(max(ms, 0)) + 1
	}
}

// milliseconds reads a header's value, as a number or in words.
func milliseconds(v any) (ms int64, ok bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(min(v, math.MaxInt64)), true
	case float64:
		return int64(v), v >= 0 && v < math.MaxInt64
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}
