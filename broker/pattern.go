package broker

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxHashes is how many words "#" a pattern should have that is handed to RabbitMQ. RabbitMQ 3.10 tries every way of
// sharing a key's words out among them, on the publisher's channel. Measured for one message whose key has 127 words and one
// binding: 1 ms with one "#", 16 to 41 ms with two, 0.8 to 1.9 s with three, 25 s to more than a minute with four.
const MaxHashes = 3

var (
	// ErrPatternTooLong is what ParsePattern returns for more than MaxShortString bytes.
	ErrPatternTooLong = errors.New("pattern is too long")
	// ErrPatternEncoding is what ParsePattern returns for a pattern that is not UTF-8.
	ErrPatternEncoding = errors.New("pattern is not valid UTF-8")
)

// Pattern is a topic pattern as RabbitMQ's topic exchange reads it: words separated by dots, where the word "*" stands for
// exactly one word and the word "#" for any number of words, none included. Words may be empty ("a..b" has three), a
// wildcard counts only as a whole word ("a*" is a literal), and the empty text has no word at all.
//
// A Pattern is made by ParsePattern and then always valid. The zero Pattern is the empty pattern, which matches the empty
// key alone. Patterns are comparable (equal texts, not equal meanings) and safe for concurrent use.
type Pattern struct {
	text  string
	shape shape
}

// shape is what a pattern is known to be, so that the two commonest kinds need no walk.
type shape uint8

const (
	shapeExact shape = iota // no wildcard: matches its own text alone
	shapeWild               // anything else
	shapeAll                // "#": matches every key
)

// ParsePattern reads a topic pattern. Any text is a pattern, up to MaxShortString bytes (else ErrPatternTooLong) and if it
// is UTF-8 (else ErrPatternEncoding): AMQP would carry other bytes, but the JSON that lists a binding could not name it.
func ParsePattern(text string) (Pattern, error) {
	if len(text) > MaxShortString {
		return Pattern{}, fmt.Errorf("%w: %d bytes, at most %d", ErrPatternTooLong, len(text), MaxShortString)
	}
	if !utf8.ValidString(text) {
		return Pattern{}, ErrPatternEncoding
	}
	return Pattern{text: text, shape: shapeOf(text)}, nil
}

func shapeOf(text string) shape {
	if text == "#" {
		return shapeAll
	}
	for at := firstWord(text); at <= len(text); {
		var word string
		word, at = nextWord(text, at)
		if word == "#" || word == "*" {
			return shapeWild
		}
	}
	return shapeExact
}

// String returns the text that the pattern was parsed from.
func (p Pattern) String() string { return p.text }

// Hashes returns how many of the pattern's words are "#": of MaxHashes. Match and Contains do not mind them.
func (p Pattern) Hashes() int {
	count := 0
	for at := firstWord(p.text); at <= len(p.text); {
		var word string
		word, at = nextWord(p.text, at)
		if word == "#" {
			count++
		}
	}
	return count
}

// Match reports whether a topic exchange would route a message with this routing key to a binding with this pattern. The
// key may be longer than MaxShortString (other protocols of a broker have longer ones) and need not be UTF-8. It does not
// allocate, and compares at most as many pairs of words as the product of both numbers of words.
func (p Pattern) Match(key string) bool {
	switch p.shape {
	case shapeExact:
		return key == p.text
	case shapeAll:
		return true
	case shapeWild:
	}
	return matchWords(p.text, key)
}

// matchWords is Match for any pattern. The last "#" seen is all that ever has to be tried again: whatever came before it
// was matched as early in the key as it can be, and matching it later would only leave less for the rest.
func matchWords(pattern, key string) bool {
	retry, retryKey := -1, 0
	at, keyAt := firstWord(pattern), firstWord(key)
	for at <= len(pattern) || keyAt <= len(key) {
		if at <= len(pattern) {
			word, next := nextWord(pattern, at)
			if word == "#" {
				if next > len(pattern) {
					return true // It takes whatever is left.
				}
				retry, retryKey = next, keyAt
				at = next
				continue
			}
			if got, nextKey := nextWord(key, keyAt); keyAt <= len(key) && (word == "*" || word == got) {
				at, keyAt = next, nextKey
				continue
			}
		}
		if retry < 0 || retryKey > len(key) {
			return false
		}
		_, retryKey = nextWord(key, retryKey)
		at, keyAt = retry, retryKey
	}
	return true
}

// firstWord returns the offset of the first word of a key or pattern. Offsets above len(text) mean that there are no more
// words, which is where the empty text begins: RabbitMQ gives it no word, while "." has two empty ones.
func firstWord(text string) int {
	if text == "" {
		return 1
	}
	return 0
}

// nextWord returns the word at an offset and the offset of the one after it; beyond the last word, an empty one.
func nextWord(text string, at int) (word string, next int) {
	if at > len(text) {
		return "", at
	}
	rest := text[at:]
	if dot := strings.IndexByte(rest, '.'); dot >= 0 {
		return rest[:dot], at + dot + 1
	}
	return rest, len(text) + 1
}
