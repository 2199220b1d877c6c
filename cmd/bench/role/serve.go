package role

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// maxLine bounds one request or reply in bytes.
const maxLine = 16 << 20

type request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"`
}

type reply struct {
	Error string          `json:"error,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Handler does one operation of a role.
type Handler func(ctx context.Context, args json.RawMessage) (any, error)

// Op makes a handler of a function with typed arguments and answer.
func Op[A, R any](f func(context.Context, A) (R, error)) Handler {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
		return f(ctx, args)
	}
}

// Serve does the operations that come in, one after the other, until the input ends.
func Serve(ctx context.Context, in io.Reader, out io.Writer, handlers map[string]Handler) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		if err := answers.Encode(answer(ctx, lines.Bytes(), handlers)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func answer(ctx context.Context, line []byte, handlers map[string]Handler) reply {
	var req request
	if err := json.Unmarshal(line, &req); err != nil {
		return reply{Error: err.Error()}
	}
	h, ok := handlers[req.Op]
	if !ok {
		return reply{Error: "no such operation"}
	}
	value, err := h(ctx, req.Args)
	if err != nil {
		return reply{Error: err.Error()}
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Value: raw}
}
