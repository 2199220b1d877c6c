package rabbitmq

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/warren-gateway/warren/broker"
)

// methodDeliver is basic.deliver.
const methodDeliver = 60<<16 | 60

var (
	errFrameEnd = errors.New("AMQP frame without its end")
	errContent  = errors.New("AMQP content that is none")
)

// deliveries takes the messages for queues out of what a connection brings, before amqp091-go sees them, and hands them over on
// the goroutine that reads. The library would pass each from that goroutine to one of the consumer's and from there to ours: two
// changes of goroutines for each message, which cost more than all the rest of it.
//
// Everything else about a consumer is the library's: it is made, cancelled and lost there.
type deliveries struct {
	poisoned func()
	// largest is how many bytes of a body are kept; of a larger one it is the size alone. 0: without a bound.
	largest uint64

	// Only the reader uses these.
	found               *incarnation // by wants
	contents            []*content   // under way, nearly always one at most
	spare               *content
	touched             []*incarnation // got something since settle
	exchange, key, kind lastString

	mu        sync.Mutex // guards consumers
	consumers map[string]*incarnation
}

// content is a message that arrives on a channel, frame by frame.
type content struct {
	channel uint16
	to      *incarnation
	tag     uint64
	again   bool // redelivered
	begun   bool // its header has come
	size    uint64
	left    uint64          // bytes of the body that are to come
	message broker.Delivery // with what came of the body so far
}

// lastString saves a string for each message where many have the same.
type lastString struct{ s string }

func (l *lastString) of(b []byte) string {
	if string(b) != l.s {
		l.s = string(b)
	}
	return l.s
}

// add has the messages of a consumer handed to an incarnation. It is called before the broker is asked for the consumer.
func (d *deliveries) add(tag string, inc *incarnation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.consumers == nil {
		d.consumers = make(map[string]*incarnation)
	}
	d.consumers[tag] = inc
}

// remove is called when the consumer has ended, or was refused.
func (d *deliveries) remove(tag string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.consumers, tag)
}

func (d *deliveries) consumer(tag []byte) *incarnation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.consumers[string(tag)]
}

// wants reports whether a frame is part of a message for a queue. The payload of a method may be of any method.
func (d *deliveries) wants(typ byte, channel uint16, payload []byte) bool {
	switch typ {
	case frameTypeMethod:
		tag, _, ok := deliverOf(payload)
		d.found = nil
		if ok {
			d.found = d.consumer(tag)
		}
		return d.found != nil
	case frameTypeHeader, frameTypeBody:
		return d.under(channel) != nil
	}
	return false
}

func (d *deliveries) under(channel uint16) *content {
	for _, c := range d.contents {
		if c.channel == channel {
			return c
		}
	}
	return nil
}

// deliverOf reads the consumer tag of a basic.deliver.
func deliverOf(payload []byte) (tag []byte, rest fieldReader, ok bool) {
	rest.rest = payload
	if id, ok := rest.uint32(); !ok || id != methodDeliver {
		return nil, rest, false
	}
	tag, ok = rest.shortString()
	return tag, rest, ok
}

// take takes a frame that wants has approved.
func (d *deliveries) take(typ byte, channel uint16, payload []byte) error {
	c := d.under(channel)
	if typ == frameTypeMethod {
		return d.begin(channel, payload)
	}
	if c.begun != (typ == frameTypeBody) {
		return errContent
	}
	if typ == frameTypeHeader {
		return d.header(c, payload)
	}
	if uint64(len(payload)) > c.left {
		return errContent
	}
	c.left -= uint64(len(payload))
	switch {
	case d.largest > 0 && c.size > d.largest:
		c.message.Size = int(c.size)
	case uint64(len(payload)) == c.size:
		c.message.Body = payload // where it lies
	default:
		c.message.Body = append(c.message.Body, payload...)
	}
	if c.left == 0 {
		d.finish(c)
	}
	return nil
}

// begin begins a message with its basic.deliver.
func (d *deliveries) begin(channel uint16, payload []byte) error {
	_, rest, _ := deliverOf(payload)
	c := d.spare
	if c == nil {
		c = new(content)
	}
	d.spare = nil
	*c = content{channel: channel, to: d.found}
	tag, _ := rest.uint64()
	flags, _ := rest.uint8()
	exchange, _ := rest.shortString()
	key, ok := rest.shortString()
	if !ok {
		return errContent
	}
	c.tag, c.again = tag, flags&1 != 0
	c.message.Exchange, c.message.RoutingKey = d.exchange.of(exchange), d.key.of(key)
	d.contents = append(d.contents, c)
	return nil
}

// header takes the content header: class, weight, the body's size and the properties.
func (d *deliveries) header(c *content, payload []byte) error {
	if len(payload) < headerPropsAt+headerPropsLen {
		return errContent
	}
	c.begun = true
	c.size = binary.BigEndian.Uint64(payload[headerPropsAt-8:])
	c.left = c.size
	flags := binary.BigEndian.Uint16(payload[headerPropsAt:])
	if !d.properties(&c.message.Properties, flags, fieldReader{rest: payload[headerPropsAt+headerPropsLen:]}) {
		return errContent
	}
	if c.size == 0 {
		d.finish(c)
	}
	return nil
}

// properties reads the properties that flags name, in the order of AMQP 0-9-1, class basic. Headers that cannot be read are
// left out.
func (d *deliveries) properties(p *broker.Properties, flags uint16, r fieldReader) (ok bool) {
	ok = true
	text := func(flag uint16) (s string) {
		if ok && flags&flag != 0 {
			var b []byte
			b, ok = r.shortString()
			s = string(b)
		}
		return s
	}
	octet := func(flag uint16) (n uint8) {
		if ok && flags&flag != 0 {
			n, ok = r.uint8()
		}
		return n
	}
	if flags&flagContentType != 0 {
		var b []byte
		b, ok = r.shortString()
		p.ContentType = d.kind.of(b)
	}
	p.ContentEncoding = text(flagContentEncoding)
	if ok && flags&flagHeaders != 0 {
		p.Headers, ok = d.headers(&r)
	}
	p.DeliveryMode = octet(flagDeliveryMode)
	p.Priority = octet(flagPriority)
	p.CorrelationID = text(flagCorrelationID)
	p.ReplyTo = text(flagReplyTo)
	p.Expiration = text(flagExpiration)
	p.MessageID = text(flagMessageID)
	if ok && flags&flagTimestamp != 0 {
		p.Timestamp, ok = r.uint64()
		p.HasTimestamp = true
	}
	p.Type = text(flagType)
	p.UserID = text(flagUserID)
	p.AppID = text(flagAppID)
	p.ClusterID = text(flagClusterID)
	return ok
}

// headers reads the headers table, as long as its length is right.
func (d *deliveries) headers(r *fieldReader) (t broker.Table, ok bool) {
	whole := r.rest
	if _, ok := r.block(); !ok {
		return nil, false
	}
	t, ok = readTable(whole[:len(whole)-len(r.rest)])
	if !ok {
		d.poisoned()
		return nil, true
	}
	return t, true
}

// finish hands a whole message over.
func (d *deliveries) finish(c *content) {
	c.to.deliver(&c.message, c.tag, c.again)
	if !c.to.touched {
		c.to.touched = true
		d.touched = append(d.touched, c.to)
	}
	d.contents = slices.DeleteFunc(d.contents, func(x *content) bool { return x == c })
	*c = content{}
	d.spare = c
}

// settle says that nothing more is at hand: before the reader waits for the broker.
func (d *deliveries) settle() {
	for i, inc := range d.touched {
		d.touched[i] = nil
		inc.touched = false
		inc.q.flush()
	}
	d.touched = d.touched[:0]
}
