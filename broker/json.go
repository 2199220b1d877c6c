package broker

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxTableDepth bounds how deep header tables nest in a frame; what is deeper is
// null. Frames must stay readable by parsers that recurse.
const maxTableDepth = 64

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259). Bytes that are not UTF-8
// become U+FFFD. strconv.AppendQuote would not do: its escapes are Go's.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := decodeRune(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		b = appendEscape(append(b, s[start:i]...), c)
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// decodeRune looks at no more than one rune, so that no large copy is made.
func decodeRune[T string | []byte](s T) (rune, int) {
	var buf [utf8.UTFMax]byte
	n := copy(buf[:], s)
	return utf8.DecodeRune(buf[:n])
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendTable appends a field table as a JSON object with sorted names, so that
// the same table always has the same bytes.
func appendTable(b []byte, t Table, depth int) []byte {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = appendValue(b, t[name], depth+1)
	}
	return append(b, '}')
}

// appendValue appends one value of the closed set that Table documents.
func appendValue(b []byte, v any, depth int) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case Timestamp:
		return strconv.AppendUint(b, uint64(v), 10)
	case float32:
		return appendFloat(b, float64(v), 32)
	case float64:
		return appendFloat(b, v, 64)
	case string:
		if !utf8.ValidString(v) {
			return appendBase64Object(b, []byte(v))
		}
		return appendString(b, v)
	case []byte:
		if !utf8.Valid(v) {
			return appendBase64Object(b, v)
		}
		return appendString(b, v)
	case Decimal:
		return appendDecimal(b, v)
	}
	return appendNested(b, v, depth)
}

func appendNested(b []byte, v any, depth int) []byte {
	if depth >= maxTableDepth {
		return append(b, "null"...)
	}
	switch v := v.(type) {
	case Table:
		return appendTable(b, v, depth)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, e, depth+1)
		}
		return append(b, ']')
	}
	// No source produces this; a value that cannot be told is better absent than wrong.
	return append(b, "null"...)
}

func appendBase64Object(b, v []byte) []byte {
	b = append(b, `{"base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, `"}`...)
}

// appendFloat appends a number; NaN and the infinities, which JSON has not, are strings.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e' // as ECMAScript writes numbers
	}
	return strconv.AppendFloat(b, f, format, -1, bits)
}

// appendDecimal appends value × 10^-scale as a string, so that no digit is lost.
func appendDecimal(b []byte, d Decimal) []byte {
	value := int64(d.Value)
	b = append(b, '"')
	if value < 0 {
		b = append(b, '-')
		value = -value
	}
	digits := strconv.FormatInt(value, 10)
	scale := int(d.Scale)
	for len(digits) <= scale {
		digits = "0" + digits
	}
	b = append(b, digits[:len(digits)-scale]...)
	if scale > 0 {
		b = append(b, '.')
		b = append(b, digits[len(digits)-scale:]...)
	}
	return append(b, '"')
}
