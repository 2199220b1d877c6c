package broker

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
)

// MaxPositionLen is the longest event id there is, in bytes.
const MaxPositionLen = 128

// Position is a place in a stream: right after the event with this offset. It
// is also that event's id, written "<stream id>.<offset>". Offset 0 is the
// place before the first event. The zero value is no position.
type Position struct {
	// Stream names the log: everything before the last dot of the id.
	Stream string
	// Offset counts the log's events from 1.
	Offset uint64
}

// ErrPosition is what ParsePosition answers when a text is no event id.
var ErrPosition = errors.New("not an event id")

// ParsePosition reads an event id: at most 128 of [0-9A-Za-z._~-], a stream, a
// dot and a decimal offset without sign or leading zero.
func ParsePosition(s string) (Position, error) {
	if len(s) == 0 || len(s) > MaxPositionLen {
		return Position{}, ErrPosition
	}
	for i := range len(s) {
		if !isIDByte(s[i]) {
			return Position{}, ErrPosition
		}
	}
	dot := strings.LastIndexByte(s, '.')
	if dot <= 0 || dot == len(s)-1 {
		return Position{}, ErrPosition
	}
	digits := s[dot+1:]
	if digits[0] == '0' && len(digits) > 1 {
		return Position{}, ErrPosition
	}
	offset, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return Position{}, ErrPosition
	}
	return Position{Stream: s[:dot], Offset: offset}, nil
}

// String returns the event id.
func (p Position) String() string {
	return string(p.append(nil))
}

// IsZero reports whether p is no position at all.
func (p Position) IsZero() bool { return p.Stream == "" }

func (p Position) append(b []byte) []byte {
	b = append(b, p.Stream...)
	b = append(b, '.')
	return strconv.AppendUint(b, p.Offset, 10)
}

func isIDByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' ||
		c == '.' || c == '_' || c == '~' || c == '-'
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Lengths of the random ids in base62 digits: 17 digits hold 96 bits, 22 hold
// 128 bits (62^17 > 2^101, 62^22 > 2^130, so no entropy is lost).
const (
	streamIDLen       = 17
	subscriptionIDLen = 22
)

// newStreamID returns a random stream id of at least 96 bits: nobody guesses it, and
// without tokens it brings back to a subscription that a stream made.
func newStreamID() string { return randomBase62(streamIDLen) }

// newSubscriptionID returns a random subscription id of at least 128 bits: a capability.
func newSubscriptionID() string { return randomBase62(subscriptionIDLen) }

// randomBase62 returns n uniformly random base62 digits from crypto/rand.
func randomBase62(n int) string {
	out := make([]byte, 0, n)
	var buf [32]byte
	for len(out) < n {
		_, _ = rand.Read(buf[:]) // never fails since Go 1.24
		for _, c := range buf {
			// 248 is the largest multiple of 62 in a byte: what is above would
			// favour the first digits.
			if c < 248 && len(out) < n {
				out = append(out, base62[c%62])
			}
		}
	}
	return string(out)
}
