package broker

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// PayloadMode says how message bodies are written into frames.
type PayloadMode string

// The payload modes of the contract.
const (
	// PayloadAuto inlines JSON where the body is JSON; the default.
	PayloadAuto PayloadMode = "auto"
	// PayloadRaw never inlines: string or base64, byte for byte what was published.
	PayloadRaw PayloadMode = "raw"
)

// ParsePayloadMode reads a mode; "" is PayloadAuto.
func ParsePayloadMode(s string) (PayloadMode, bool) {
	switch PayloadMode(s) {
	case "", PayloadAuto:
		return PayloadAuto, true
	case PayloadRaw:
		return PayloadRaw, true
	}
	return "", false
}

// appendPayload appends the members payload and payload_encoding.
func appendPayload(b []byte, m *Message, mode PayloadMode) []byte {
	b = append(b, `,"payload":`...)
	start := len(b)
	if mode != PayloadRaw && isJSONType(m.Properties.ContentType) {
		if out, ok := appendInlineJSON(b, m.Body); ok {
			return append(out, `,"payload_encoding":"json"`...)
		}
	}
	if utf8.Valid(m.Body) {
		b = appendString(b, m.Body)
		if len(b)-start <= base64.StdEncoding.EncodedLen(len(m.Body))+2 || len(m.Body) == 0 {
			return append(b, `,"payload_encoding":"string"`...)
		}
		b = b[:start]
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, m.Body)
	return append(b, `","payload_encoding":"base64"`...)
}

// isJSONType reports whether the content type is absent or JSON (RFC 8259, RFC 6839).
func isJSONType(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || media == "text/json" ||
		strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// appendInlineJSON appends body compacted if it is JSON that may be inlined.
// Compacting matters for more than size: a line break would end the data line
// of an event.
func appendInlineJSON(b, body []byte) ([]byte, bool) {
	if !utf8.Valid(body) {
		return b, false
	}
	return appendCompact(b, body)
}

// appendProperties appends the object of the properties that are present, under
// the names of RabbitMQ's HTTP API.
func appendProperties(b []byte, p *Properties) []byte {
	b = append(b, '{')
	start := len(b)
	name := func(n string) {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), n...), '"', ':')
	}
	text := func(n, v string) {
		if v != "" {
			name(n)
			b = appendString(b, v)
		}
	}
	text("content_type", p.ContentType)
	text("content_encoding", p.ContentEncoding)
	if len(p.Headers) > 0 {
		name("headers")
		b = appendTable(b, p.Headers, 0)
	}
	if p.DeliveryMode != 0 {
		name("delivery_mode")
		b = strconv.AppendUint(b, uint64(p.DeliveryMode), 10)
	}
	if p.Priority != 0 {
		name("priority")
		b = strconv.AppendUint(b, uint64(p.Priority), 10)
	}
	text("correlation_id", p.CorrelationID)
	text("reply_to", p.ReplyTo)
	text("expiration", p.Expiration)
	text("message_id", p.MessageID)
	if p.HasTimestamp {
		name("timestamp")
		b = strconv.AppendUint(b, p.Timestamp, 10)
	}
	text("type", p.Type)
	text("user_id", p.UserID)
	text("app_id", p.AppID)
	text("cluster_id", p.ClusterID)
	return append(b, '}')
}
