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
	closed [1 << 16 / 64]uint64 // a bit for each channel
	rest   int                  // bytes to come of the frame that was begun
	drop   bool                 // whether that frame is dropped
}

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
	word, bit := &g.closed[channel/64], uint64(1)<<(channel%64)
	var method uint32
	if p[0] == frameTypeMethod && len(p) >= frameHeaderLen+methodLen {
		method = binary.BigEndian.Uint32(p[frameHeaderLen:])
	}
	switch method {
	case methodChannelOpen:
		*word &^= bit
	case methodChannelCloseOk:
		*word |= bit
	case methodChannelClose:
		g.drop = *word&bit != 0
		*word |= bit
	default:
		g.drop = *word&bit != 0
	}
}
