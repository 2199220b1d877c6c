// Package rabbitmq is the broker.Source that consumes from RabbitMQ over AMQP 0-9-1.
//
// # Connections
//
// Queues live on connections named "warren <node> consumers <n>", at most [MaxQueuesPerConnection] on each, opened as
// needed and closed when idle. Nothing is ever published on them, because under an alarm the broker stops reading from
// connections that publish. One more, "warren <node> canary", publishes an empty message to an exchange of its own
// every few seconds: its confirm is the round trip, and only a connection that publishes is told of alarms.
//
// A Source starts without a broker and connects in the background. It owns all its goroutines; Close waits for them.
//
// # Queues
//
// Each subscription has one exclusive queue, through incarnations: "warren.<node>.<stream id>.<incarnation>". Declaring
// and binding, at creation and later, run on a channel that serves nobody else meanwhile, since NOT_FOUND, ACCESS_REFUSED
// and PRECONDITION_FAILED close the channel on which they happen. The first queues of a connection are consumed on that same
// channel, which is then theirs alone; the others share channels on which nothing but consuming ever happens, because a
// thousand channels cost the broker a quarter of what it delivers. All of it is on the connection that owns the queue: to
// others an exclusive queue is RESOURCE_LOCKED.
//
// An ack covers all deliveries of a channel up to one, whichever queue they are of, so it goes as far as all of them have been
// appended.
//
// Deliveries are handed on by the goroutine that reads the connection, and are none of the library's business. A lost
// connection, channel, consumer or queue has one answer: what was already read is delivered (not all of it, where a write
// found the connection lost), then comes *broker.Recovering, then a new incarnation is made, then comes *broker.Recovered.
// What had been delivered and not acknowledged comes back marked as redelivered where a queue outlives its consumer, and
// nobody can tell what of it was appended; so a message with that mark is never delivered, and itself costs the queue its
// incarnation.
//
// # What the broker drops
//
// A queue is bounded. What it drops is dead-lettered to a topic exchange of its connection's, "warren.<node>.dead.<random>",
// under a routing key that names connection and queue, into one bounded queue per connection, where it is counted: exactly,
// but nobody can say where in the stream it is missing. Should that queue overflow too, its own dead letters say so, and the
// counts become unknown. The canary's messages go the same way, from an exchange of its own that is bound to those: all dead
// letters that came in before a marker have arrived when the marker has, so a burst of them began after the last marker but one.
//
// # Exchanges
//
// AMQP says nothing when an exchange is deleted under a binding. So each exchange in use is probed by passive declare,
// and watched by way of amq.rabbitmq.event where that plugin is on and readable. Where it is not, and while what it tells is not
// heard, an exchange that is deleted and made again between two probes goes unnoticed; so all bindings are made again from time
// to time, twenty in a second, and what was published before its turn came is lost without a word.
package rabbitmq
