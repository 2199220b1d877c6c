package broker

// maxInlineDepth is how deep JSON may nest to be inlined: readers recurse. The
// bits of compactor.objects are as many.
const maxInlineDepth = 64

// compactor checks that src is one JSON value (RFC 8259) and copies it without
// the space between its tokens. It does in one pass what json.Compact does with
// a state machine that is called for each byte, and knows how deep src nests.
// It does not look whether strings are UTF-8.
type compactor struct {
	dst, src []byte
	at       int    // of the next byte of src
	depth    int    // how many objects and arrays are open
	objects  uint64 // which of them are objects: the lowest bit is the innermost
}

// appendCompact appends src compacted. ok is false, and dst as it was, when src
// is no JSON or nests deeper than maxInlineDepth.
func appendCompact(dst, src []byte) (out []byte, ok bool) {
	c := compactor{dst: dst, src: src}
	for due := true; due || c.depth > 0; {
		if due {
			due, ok = c.value()
		} else {
			due, ok = c.next()
		}
		if !ok {
			return dst, false
		}
	}
	if c.peek(); c.at < len(src) {
		return dst, false
	}
	return c.dst, true
}

// peek skips space and answers the byte after it, 0 at the end: no token begins with that.
func (c *compactor) peek() byte {
	for ; c.at < len(c.src); c.at++ {
		switch b := c.src[c.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// take copies src up to end.
func (c *compactor) take(end int) {
	c.dst = append(c.dst, c.src[c.at:end]...)
	c.at = end
}

// value takes a value, or as much of one as opens it. due tells whether another
// value has to follow at once.
func (c *compactor) value() (due, ok bool) {
	switch b := c.peek(); b {
	case '{', '[':
		return c.open(b == '{')
	case '"':
		return false, c.string()
	case 't':
		return false, c.literal("true")
	case 'f':
		return false, c.literal("false")
	case 'n':
		return false, c.literal("null")
	}
	return false, c.number()
}

func (c *compactor) open(object bool) (due, ok bool) {
	if c.depth == maxInlineDepth {
		return false, false
	}
	c.depth++
	c.objects <<= 1
	c.take(c.at + 1)
	if !object {
		if c.peek() == ']' {
			return false, true // next closes it
		}
		return true, true
	}
	c.objects |= 1
	if c.peek() == '}' {
		return false, true
	}
	return true, c.key()
}

// next takes what may follow a value inside of an object or array.
func (c *compactor) next() (due, ok bool) {
	object := c.objects&1 == 1
	switch b := c.peek(); {
	case b == '}' && object, b == ']' && !object:
		c.depth--
		c.objects >>= 1
		c.take(c.at + 1)
		return false, true
	case b == ',':
		c.take(c.at + 1)
		return true, !object || c.key()
	}
	return false, false
}

// key takes a member's name and the colon.
func (c *compactor) key() bool {
	if c.peek() != '"' || !c.string() || c.peek() != ':' {
		return false
	}
	c.take(c.at + 1)
	return true
}

func (c *compactor) literal(word string) bool {
	end := c.at + len(word)
	if end > len(c.src) || string(c.src[c.at:end]) != word {
		return false
	}
	c.take(end)
	return true
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (table [256]bool) {
	for b := range table {
		table[b] = b >= ' ' && b != '"' && b != '\\'
	}
	return table
}()

// string takes a string, which begins here.
func (c *compactor) string() bool {
	src := c.src
	for i := c.at + 1; i < len(src); i++ {
		switch b := src[i]; {
		case plain[b]:
		case b == '"':
			c.take(i + 1)
			return true
		case b == '\\':
			n := escapeLen(src[i+1:])
			if n == 0 {
				return false
			}
			i += n
		default:
			return false
		}
	}
	return false
}

// escapeLen answers how long the escape is after its backslash, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		const digits = 4
		if len(b) <= digits {
			return 0
		}
		for _, d := range b[1 : 1+digits] {
			if !isHex(d) {
				return 0
			}
		}
		return 1 + digits
	}
	return 0
}

func isHex(d byte) bool {
	return isDigit(d) || 'a' <= d && d <= 'f' || 'A' <= d && d <= 'F'
}

func isDigit(d byte) bool { return '0' <= d && d <= '9' }

// number takes a number, which begins here.
func (c *compactor) number() bool {
	i := c.at
	if i < len(c.src) && c.src[i] == '-' {
		i++
	}
	whole := c.digits(i)
	if whole == i || c.src[i] == '0' && whole > i+1 {
		return false
	}
	i = whole
	if i < len(c.src) && c.src[i] == '.' {
		fraction := c.digits(i + 1)
		if fraction == i+1 {
			return false
		}
		i = fraction
	}
	if i < len(c.src) && (c.src[i] == 'e' || c.src[i] == 'E') {
		i++
		if i < len(c.src) && (c.src[i] == '+' || c.src[i] == '-') {
			i++
		}
		exponent := c.digits(i)
		if exponent == i {
			return false
		}
		i = exponent
	}
	c.take(i)
	return true
}

// digits answers where the digits end that begin at i.
func (c *compactor) digits(i int) int {
	for i < len(c.src) && isDigit(c.src[i]) {
		i++
	}
	return i
}
