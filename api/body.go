package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/warren-gateway/warren/broker"
)

// maxBody is the largest request body, in bytes.
const maxBody = 64 << 10

// readObject reads a request's body: exactly one JSON object with these members
// and no others.
//
// encoding/json alone would take what others read differently: names in any
// case, repeated names, invalid UTF-8, lone surrogates, text after the value.
func readObject(w http.ResponseWriter, r *http.Request, known ...string) (object, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, broker.Errorf(broker.CodeUnsupportedMediaType, "send the body as application/json")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, broker.Errorf(broker.CodeUnsupportedMediaType, "send the body without a content encoding")
	}
	if r.ContentLength > maxBody {
		return nil, errBodyTooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, errBodyTooLarge()
		}
		return nil, invalid("", "the body could not be read to its end").WithCause(err)
	}
	return parseObject(body, known...)
}

func errBodyTooLarge() error {
	return broker.Errorf(broker.CodeBodyTooLarge, "a body has at most 64 KiB")
}

// object is a JSON object, its members not decoded yet.
type object map[string]json.RawMessage

// parseObject reads one JSON object. With known names given, others are refused.
func parseObject(raw []byte, known ...string) (object, error) {
	if err := validJSON(raw); err != nil {
		return nil, err
	}
	if first := bytes.TrimLeft(raw, " \t\r\n"); first[0] != '{' {
		return nil, invalid("", "this must be a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	out := make(object)
	_, _ = dec.Token() // the brace; what follows cannot fail, the text is valid
	for dec.More() {
		before := dec.InputOffset()
		token, _ := dec.Token()
		name, _ := token.(string)
		if halfPair(raw[before:dec.InputOffset()]) {
			return nil, invalid(printable(name), "the field's name holds half a surrogate pair")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, invalid("", "this is not valid JSON").WithCause(err)
		}
		if _, twice := out[name]; twice {
			return nil, invalid(printable(name), "the field is given twice")
		}
		if len(known) > 0 && !slices.Contains(known, name) {
			return nil, invalid(printable(name), "there is no such field")
		}
		out[name] = value
	}
	return out, nil
}

func validJSON(raw []byte) error {
	switch {
	case len(bytes.TrimLeft(raw, " \t\r\n")) == 0:
		return invalid("", "the JSON is empty")
	case !utf8.Valid(raw): // json.Valid does not look
		return invalid("", "the JSON is not valid UTF-8")
	case deeper(raw, maxDepth):
		return invalid("", "the JSON nests deeper than 32 levels")
	case !json.Valid(raw):
		return invalid("", "this is not one valid JSON value")
	}
	return nil
}

// maxDepth is how deep the JSON of a request nests: binding arguments have 8
// levels, headers of a message to publish some more. Each level is scanned again
// when it is decoded, so 64 KiB of brackets would cost a second.
const maxDepth = 32

// deeper reports whether JSON nests deeper than that many levels. What it says
// of text that is no JSON does not matter.
func deeper(raw []byte, levels int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > levels {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// has reports whether the member is there.
func (o object) has(name string) bool {
	_, ok := o[name]
	return ok
}

// string takes a string member, which must be there.
func (o object) string(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", invalid(name, "the field is missing")
	}
	return decodeString(name, raw)
}

// stringOr takes a string member that may be left out.
func (o object) stringOr(name, missing string) (string, error) {
	if !o.has(name) {
		return missing, nil
	}
	return o.string(name)
}

// boolOr takes a boolean member that may be left out.
func (o object) boolOr(name string, missing bool) (bool, error) {
	switch raw, ok := o[name]; {
	case !ok:
		return missing, nil
	case string(raw) == "true":
		return true, nil
	case string(raw) == "false":
		return false, nil
	}
	return false, invalid(name, "this must be true or false")
}

// int takes an integer member, which must be there, between two bounds.
func (o object) int(name string, low, high int64) (int64, error) {
	raw, ok := o[name]
	if !ok {
		return 0, invalid(name, "the field is missing")
	}
	n, ok := integer(string(raw))
	if !ok || n < low || n > high {
		return 0, invalid(name, "this must be an integer from "+strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10))
	}
	return n, nil
}

// integer reads a JSON number that is integral, however it is written ("30", "3e1").
func integer(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	const exact = 1 << 53 // beyond, a float64 is no certain integer
	if err != nil || f != math.Trunc(f) || math.Abs(f) > exact {
		return 0, false
	}
	return int64(f), true
}

func decodeArray(field string, raw json.RawMessage) ([]json.RawMessage, error) {
	var out []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &out) != nil {
		return nil, invalid(field, "this must be an array")
	}
	return out, nil
}

func decodeString(field string, raw json.RawMessage) (string, error) {
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", invalid(field, "this must be a string")
	}
	if halfPair(raw) {
		return "", invalid(field, "the string holds half a surrogate pair")
	}
	return s, nil
}

// halfPair reports whether a string of valid JSON escapes half a surrogate pair.
// encoding/json would make U+FFFD of it: a routing key that the client did not write.
func halfPair(raw []byte) bool {
	const unit = len(`\ud800`)
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		first, ok := escapedUnit(raw[i:])
		switch {
		case !ok:
			i++ // what is escaped, which may be a backslash
		case !utf16.IsSurrogate(first):
			i += unit - 1
		default:
			second, ok := escapedUnit(raw[i+unit:])
			if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
				return true
			}
			i += 2*unit - 1
		}
	}
	return false
}

// escapedUnit takes the UTF-16 unit that \u escapes at the beginning of the text, if one does.
func escapedUnit(text []byte) (rune, bool) {
	if len(text) < len(`\ud800`) || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

// decodeTable reads an object as an AMQP field table: integral numbers become
// int64, all others float64.
func decodeTable(field string, raw json.RawMessage) (broker.Table, error) {
	members, err := parseObject(raw)
	if err != nil {
		if broker.AsError(err).Field == "" || raw[0] != '{' {
			return nil, invalid(field, "this must be an object")
		}
		return nil, err
	}
	table := make(broker.Table, len(members))
	for name, value := range members {
		if len(name) > broker.MaxShortString {
			return nil, invalid(field, "a name in it is longer than 255 bytes")
		}
		if table[name], err = decodeValue(field, value); err != nil {
			return nil, err
		}
	}
	return table, nil
}

func decodeValue(field string, raw json.RawMessage) (any, error) {
	switch raw[0] {
	case 'n':
		return nil, nil
	case 't', 'f':
		return raw[0] == 't', nil
	case '"':
		return decodeString(field, raw)
	case '{':
		return decodeTable(field, raw)
	case '[':
		elements, err := decodeArray(field, raw)
		if err != nil {
			return nil, err
		}
		list := make([]any, len(elements))
		for i, e := range elements {
			if list[i], err = decodeValue(field, e); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	if n, ok := integer(string(raw)); ok {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return nil, invalid(field, "a number in it is out of range")
	}
	return f, nil
}

// printable cuts a name that a client made up, so that it can be told back.
func printable(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strings.ToValidUTF8(name, "")
}
