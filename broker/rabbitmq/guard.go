package rabbitmq

import "encoding/binary"

// Method frames as the guard knows them: class and method, at the beginning of the payload.
const (
	frameTypeMethod      = 1
	methodLen            = 4
	methodChannelOpen    = 20<<16 | 10
	methodChannelClose   = 20<<16 | 40
	methodChannelCloseOk = 20<<16 | 41
)

// guard drops what the library sends on a channel that it has closed already. RabbitMQ answers a frame on a closed channel by
// closing the connection ("expected 'channel.open'"), and amqp091-go looks whether a channel is closed some time before it
// writes: an ack or a bind that crosses a channel.close-ok would cost a thousand subscriptions their connection. Whoever
// sent such a frame learns from the channel's end that it came to nothing.
type guard struct {
	closed channelSet
	// answered are the closed ones of which the broker knows that we do. It sends a further channel.close at each of its ticks
	// when we stand still beyond its consumer_timeout; close-ok may be said once.
	answered channelSet
	rest     int  // bytes to come of the frame that was begun
	drop     bool // whether that frame is dropped
}

// channelSet has a bit for each channel.
type channelSet [1 << 16 / 64]uint64

func (s *channelSet) has(channel uint16) bool { return s[channel/64]&(1<<(channel%64)) != 0 }
func (s *channelSet) add(channel uint16)      { s[channel/64] |= 1 << (channel % 64) }
func (s *channelSet) remove(channel uint16)   { s[channel/64] &^= 1 << (channel % 64) }

// filter calls pass for what of p may be written, in as few pieces as possible. The library writes whole frames, save that
// those above 4 KiB come in pieces; a frame's first piece has at least its header.
func (g *guard) filter(p []byte, pass func([]byte) error) error {
	from, at := 0, 0
	for at < len(p) {
		if g.rest == 0 {
			dropped := g.drop
			g.begin(p[at:])
			if g.drop != dropped {
				if !dropped && at > from {
					if err := pass(p[from:at]); err != nil {
						return err
					}
				}
				from = at
			}
		}
		n := min(g.rest, len(p)-at)
		at += n
		g.rest -= n
	}
	if g.drop || at == from {
		return nil
	}
	return pass(p[from:at])
}

// begin looks at the beginning of a frame.
func (g *guard) begin(p []byte) {
	g.drop = false
	if len(p) < frameHeaderLen || p[0] == 'A' { // the protocol header, "AMQP" and a version
		g.rest = len(p)
		return
	}
	channel := binary.BigEndian.Uint16(p[1:])
	g.rest = frameHeaderLen + int(binary.BigEndian.Uint32(p[3:])) + frameEndLen
	var method uint32
	if p[0] == frameTypeMethod && len(p) >= frameHeaderLen+methodLen {
		method = binary.BigEndian.Uint32(p[frameHeaderLen:])
	}
	switch method {
	case methodChannelOpen:
		g.closed.remove(channel)
		g.answered.remove(channel)
	case methodChannelCloseOk:
		g.drop = g.answered.has(channel)
		g.closed.add(channel)
		g.answered.add(channel)
	case methodChannelClose:
		g.drop = g.closed.has(channel)
		g.closed.add(channel)
	default:
		g.drop = g.closed.has(channel)
	}
}
