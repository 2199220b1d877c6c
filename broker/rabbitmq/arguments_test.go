package rabbitmq

import (
	"strings"
	"testing"

	"github.com/warren-gateway/warren/broker"
)

// TestArgumentsFitTheBrokersFrames: a frame above frame_max, which an operator may set to a few KiB, costs the connection.
func TestArgumentsFitTheBrokersFrames(t *testing.T) {
	s := &Source{}
	for _, c := range []struct {
		frameMax, size int
		refused        bool
	}{{frameSize, 64 << 10, false}, {frameSize, frameSize - bindOverhead, true}, {16_384, 15_000, false}, {16_384, 15_384, true}} {
		s.frameMax.Store(int64(c.frameMax))
		if err := s.checkArguments(broker.Table{"a": strings.Repeat("x", c.size)}); (err != nil) != c.refused {
			t.Errorf("%d bytes, frames of %d: %v", c.size, c.frameMax, err)
		}
	}
}
