package load

import (
	"bytes"
	"fmt"
	"strings"
)

// Marker begins the time in a message's body. No framing of the protocols under test contains it, and JSON keeps it as it is.
const Marker = `"~`

// stampDigits is the length of a time in nanoseconds since 1970.
const stampDigits = 19

// bodyHead is what stands before the time.
const bodyHead = `{"t":` + Marker

// Body makes a JSON body of the size, whose time is still to be set, and answers where that is. The size is at least 64.
func Body(size int) (body []byte, stampAt int) {
	const between, tail = `","p":"`, `"}`
	fill := size - len(bodyHead) - stampDigits - len(between) - len(tail)
	text := bodyHead + strings.Repeat("0", stampDigits) + between + strings.Repeat("x", max(0, fill)) + tail
	return []byte(text), len(bodyHead)
}

// Stamp sets the time in a body.
func Stamp(body []byte, at int, nanoseconds int64) {
	copy(body[at:], fmt.Sprintf("%0*d", stampDigits, nanoseconds))
}

// indexMarker is bytes.Index for a marker. It looks for the second byte, which is rare: frames are full of the first, at which
// bytes.Index begins, and it goes on byte by byte when that is in vain too often. For the fastest servers the readers were the
// limit then.
func indexMarker(data []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(data[from:], Marker[1])
		if i < 0 {
			return -1
		}
		if from += i + 1; from >= len(Marker) && data[from-len(Marker)] == Marker[0] {
			return from - len(Marker)
		}
	}
}

// ReadStamp reads the time from a body, 0 if it has none.
func ReadStamp(body []byte) int64 {
	i := indexMarker(body)
	if i < 0 || len(body) < i+len(Marker)+stampDigits {
		return 0
	}
	return readStamp(body[i+len(Marker):])
}

// readStamp reads the time from what follows a marker; 0 if it is none.
func readStamp(b []byte) int64 {
	var n int64
	for _, c := range b[:stampDigits] {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
