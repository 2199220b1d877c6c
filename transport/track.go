package transport

// frameTracker follows a client's WebSocket frames by their headers (RFC 6455,
// section 5.2), to know whether what was read so far ends with a whole one. It
// judges nothing: that is the library's.
type frameTracker struct {
	head [14]byte // of the frame that is being read
	have int      // bytes of head
	left uint64   // bytes of its payload that are still to come
}

// whole reports whether no frame is half read.
func (t *frameTracker) whole() bool { return t.have == 0 && t.left == 0 }

// feed takes the next bytes.
func (t *frameTracker) feed(p []byte) {
	for len(p) > 0 {
		if t.left > 0 {
			n := min(uint64(len(p)), t.left)
			p = p[n:]
			t.left -= n
			continue
		}
		t.head[t.have] = p[0]
		t.have++
		p = p[1:]
		if t.have == t.headLen() {
			t.left = t.payload()
			t.have = 0
		}
	}
}

// headLen returns how long the header is, as far as it can be told.
func (t *frameTracker) headLen() int {
	if t.have < 2 {
		return 2
	}
	n := 2
	switch t.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if t.head[1]&0x80 != 0 {
		n += 4 // the mask
	}
	return n
}

func (t *frameTracker) payload() uint64 {
	n := uint64(t.head[1] & 0x7f)
	var ext []byte
	switch n {
	case 126:
		ext = t.head[2:4]
	case 127:
		ext = t.head[2:10]
	default:
		return n
	}
	n = 0
	for _, c := range ext {
		n = n<<8 | uint64(c)
	}
	return n
}
