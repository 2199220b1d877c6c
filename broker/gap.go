package broker

// GapReason says why messages are missing.
type GapReason string

// The reasons of the wire contract.
const (
	// GapEvicted: the reader was slower, or away longer, than the log is long. The count is exact.
	GapEvicted GapReason = "evicted"
	// GapOversized: one message was larger than the bound.
	GapOversized GapReason = "oversized"
	// GapQueueOverflow: the broker dropped messages from the queue, somewhere in a range.
	GapQueueOverflow GapReason = "queue_overflow"
	// GapBrokerReconnected: the connection to the broker was lost and made again.
	GapBrokerReconnected GapReason = "broker_reconnected"
	// GapQueueLost: the queue, its consumer or its channel was lost and made again.
	GapQueueLost GapReason = "queue_lost"
	// GapBindingLost: an exchange was deleted under a binding.
	GapBindingLost GapReason = "binding_lost"
	// GapSubscriptionLost: the position given is of a subscription that is gone.
	GapSubscriptionLost GapReason = "subscription_lost"
	// GapUnknownPosition: the position given was never a position of this stream.
	GapUnknownPosition GapReason = "unknown_position"
)

var gapReasons = [...]GapReason{
	GapEvicted, GapOversized, GapQueueOverflow, GapBrokerReconnected,
	GapQueueLost, GapBindingLost, GapSubscriptionLost, GapUnknownPosition,
}

// GapReasons lists every reason, in the order of the contract.
func GapReasons() []GapReason { return append([]GapReason(nil), gapReasons[:]...) }

// unknownCount is the missed count of a gap whose size nobody knows; null on the wire.
const unknownCount int64 = -1

// gap is what a gap frame says.
type gap struct {
	reason GapReason
	// missed is how many messages are missing, or unknownCount.
	missed int64
	// since is the position after which they are missing; queue_overflow only.
	since Position
	// exchange, routingKey and size describe the message; oversized only.
	exchange, routingKey string
	size                 int
}
