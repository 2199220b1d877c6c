package broker

// Message is one delivery as the broker handed it over.
type Message struct {
	// Exchange is the exchange it was published to.
	Exchange string
	// RoutingKey is the key it was published with.
	RoutingKey string
	// Properties are the AMQP basic properties.
	Properties Properties
	// Body is the payload. The core keeps no reference to it.
	Body []byte
}

// Properties are the AMQP 0-9-1 basic properties under the names of RabbitMQ's
// HTTP API. An empty value is an absent one: AMQP clients cannot tell them apart.
type Properties struct {
	ContentType     string
	ContentEncoding string
	Headers         Table
	// DeliveryMode is 1 (transient), 2 (persistent) or 0 (absent).
	DeliveryMode uint8
	// Priority is 0 (or absent) to 255.
	Priority      uint8
	CorrelationID string
	ReplyTo       string
	Expiration    string
	MessageID     string
	// Timestamp is in seconds since 1970, as on the wire; publishers put other
	// units into it, which is why it is a number and no time.Time.
	Timestamp uint64
	// HasTimestamp tells a timestamp of 0 from none.
	HasTimestamp bool
	Type         string
	UserID       string
	AppID        string
	ClusterID    string
}

// Table is an AMQP field table: headers or binding arguments. Its values are a
// closed set of Go types, so that no AMQP library's type reaches the core:
//
//	nil, bool, int64, uint64, float32, float64, string, []byte,
//	Decimal, Timestamp, Table, []any (of these)
//
// A source converts everything else it receives into one of them. A string
// need not be valid UTF-8.
type Table map[string]any

// Decimal is an AMQP decimal: Value × 10^-Scale. It is written as a JSON string.
type Decimal struct {
	Scale uint8
	Value int32
}

// Timestamp is an AMQP timestamp inside a table, in seconds since 1970 as on the wire.
type Timestamp uint64
