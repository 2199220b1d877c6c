package broker

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrGlob is what ParseGlob returns for a glob that is empty, longer than an exchange name can be, or not UTF-8.
var ErrGlob = errors.New("glob is not valid")

// Glob selects exchanges by name: "*" stands for any run of characters, none included, and every other character for
// itself. There is no way to write a literal asterisk, and no "?" or "[…]".
//
// A Glob is made by ParseGlob and then always valid. The zero Glob matches the empty name alone, which is an exchange that nobody
// may bind. Globs are comparable and safe for concurrent use.
type Glob struct{ text string }

// ParseGlob reads a glob of 1 to 255 bytes of UTF-8. Errors are ErrGlob.
func ParseGlob(text string) (Glob, error) {
	switch {
	case text == "":
		return Glob{}, fmt.Errorf("%w: it is empty", ErrGlob)
	case len(text) > MaxShortString:
		return Glob{}, fmt.Errorf("%w: %d bytes, at most %d", ErrGlob, len(text), MaxShortString)
	case !utf8.ValidString(text):
		return Glob{}, fmt.Errorf("%w: not UTF-8", ErrGlob)
	}
	return Glob{text: text}, nil
}

// String returns the text that the glob was parsed from.
func (g Glob) String() string { return g.text }

// Match reports whether the glob selects an exchange of this name. It takes each literal part where it first occurs, which
// leaves most for the next, and so never goes back: its time grows with the sum of both lengths. It does not allocate.
func (g Glob) Match(name string) bool {
	head, rest, wild := strings.Cut(g.text, "*")
	if !wild {
		return name == g.text
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	middle, tail := "", rest
	if last := strings.LastIndexByte(rest, '*'); last >= 0 {
		middle, tail = rest[:last], rest[last+1:]
	}
	name, ok = strings.CutSuffix(name, tail)
	for ok && middle != "" {
		var part string
		part, middle, _ = strings.Cut(middle, "*")
		_, name, ok = strings.Cut(name, part)
	}
	return ok
}
