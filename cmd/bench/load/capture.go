package load

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// wsLongHead is the size of the head of a WebSocket frame from a server with 126 to 65,535 bytes.
const wsLongHead = 4

// messageHead begins a message of the gateway.
const messageHead = `{"type":"message"`

// capture opens one stream of the gateway and answers the bytes of the next message on it, with all framing.
func capture(ctx context.Context, t Target) ([]byte, error) {
	fd, got, err := dial(ctx, t, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is lost
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, err
	}
	h := &hello{fd: fd, got: got}
	before, err := h.until(messageHead)
	if err != nil {
		return nil, err
	}
	if t.Kind == WS {
		return h.restOfWS(before)
	}
	return h.restOfSSE(before)
}

func (h *hello) restOfSSE(before []byte) ([]byte, error) {
	const end = "\n\n"
	frame := bytes.Clone(before)
	if i := bytes.LastIndex(frame, []byte(end)); i >= 0 {
		frame = frame[i+len(end):]
	}
	rest, err := h.until(end)
	return append(frame, rest...), err
}

func (h *hello) restOfWS(before []byte) ([]byte, error) {
	start := len(before) - len(messageHead) - wsLongHead
	if start < 0 {
		return nil, fmt.Errorf("no frame head before %q", before)
	}
	frame := bytes.Clone(before[start:])
	size := wsLongHead + int(frame[2])<<8 + int(frame[3])
	for len(frame) < size {
		// Each message ends with a brace; its body may hold more of them.
		more, err := h.until("}")
		if err != nil {
			return nil, err
		}
		frame = append(frame, more...)
	}
	return frame, nil
}
