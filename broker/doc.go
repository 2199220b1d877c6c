// Package broker is the core of warren: subscriptions, the bounded log of each,
// and the attachments that read it. It knows no network, no HTTP and no AMQP;
// messages come from a [Source], and transports pull frames from an [Attachment].
//
// # Order
//
// What a [Queue] gives its [Sink] is appended to the subscription's log in that
// order by the subscription's pump. Each event gets the next offset; the first
// is 1 and there are no holes. Every attachment reads the same frames, encoded
// once, in the order of their offsets.
//
// # Gaps
//
// An attachment sees either each event after its position or, at the very place
// where some are missing, one gap frame. What the log itself lost (an oversized
// message, an overflow or loss of the queue) is an event of the log with an
// offset of its own. What one reader lost because it was slower than the log is
// long is computed for that reader alone: the count is exact, because the log
// remembers every event that does not stand for exactly one message, also after
// its eviction (the newest 2,048 of them at least, and 4,096 at most; a reader
// further back than that gets a gap without a count).
//
// # Slow readers
//
// Nobody waits for a reader. The pump appends and acknowledges whatever readers
// do, so queues at the broker stay near empty. Readers pull: memory is per
// subscription, bounded by [Limits], and not per reader. When all logs together
// reach the process's budget, each shrinks toward its fair share.
//
// # Changes
//
// Bind, Unbind and Replace on one subscription run one at a time. When one
// returns without an error, the source has confirmed it and the marker that
// tells the readers is in the log; when it fails, what it did itself is undone.
//
// # Ends
//
// A subscription ends when it is deleted, when nobody was attached for its
// linger, when its owner's token expires, or with the broker. Its attachments
// then get an [End] from Next. [Subscription.Done] is closed when its queue is
// deleted; [Broker.Close] returns when that holds for all.
package broker
