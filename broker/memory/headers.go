package memory

import (
	"math"
	"strings"

	"github.com/warren-gateway/warren/broker"
)

// headersRouter matches messages by their headers. It tries every binding, as
// RabbitMQ does.
type headersRouter struct{ all set }

func (r *headersRouter) add(e *bound) {
	e.want, _ = newHeaderMatch(e.binding.Arguments()) // exchange.check has seen the error
	r.all.add(e)
}

func (r *headersRouter) remove(e *bound) {
	r.all.remove(e)
	e.want = nil
}

func (r *headersRouter) match(s *scratch, _ string, headers broker.Table) {
	for _, e := range r.all {
		if e.want.match(headers) {
			s.hit(e)
		}
	}
}

// headerMatch is the arguments of a binding to a headers exchange.
type headerMatch struct {
	any   bool // one of the terms suffices
	terms []headerTerm
}

// headerTerm asks for one header.
type headerTerm struct {
	name  string
	value any // nil: whatever the header's value is
}

// newHeaderMatch reads a binding's arguments: x-match is all (the default),
// any, all-with-x or any-with-x; the first two leave out every other argument
// whose name begins with "x-".
func newHeaderMatch(args broker.Table) (*headerMatch, *broker.Error) {
	m := new(headerMatch)
	withX := false
	if x, given := args["x-match"]; given {
		switch x {
		case "all":
		case "any":
			m.any = true
		case "all-with-x":
			withX = true
		case "any-with-x":
			m.any, withX = true, true
		default:
			return nil, broker.Errorf(broker.CodeInvalidRequest, "x-match is none of all, any, all-with-x and any-with-x").WithField("arguments")
		}
	}
	for name, value := range args {
		if name == "x-match" || !withX && strings.HasPrefix(name, "x-") {
			continue
		}
		m.terms = append(m.terms, headerTerm{name: name, value: value})
	}
	return m, nil
}

// match reports whether the headers are what the binding asks for. Without any
// term, all are there and any is not.
func (m *headerMatch) match(headers broker.Table) bool {
	for _, t := range m.terms {
		got, there := headers[t.name]
		if there && (t.value == nil || equalValue(t.value, got)) == m.any {
			return m.any
		}
		if !there && !m.any {
			return false
		}
	}
	return !m.any
}

// equalValue compares a binding's value with a header's as RabbitMQ does: by
// Erlang's ==, to which numbers are equal across types and texts and bytes are
// the same.
func equalValue(a, b any) bool {
	if x, ok := numberOf(a); ok {
		y, ok := numberOf(b)
		return ok && x == y
	}
	if x, ok := textOf(a); ok {
		y, ok := textOf(b)
		return ok && x == y
	}
	return identical(a, b)
}

func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// number is an integer or a float in a form that is equal for equal values: an
// integer wherever the value is one.
type number struct {
	negative bool
	integer  uint64 // the magnitude
	float    float64
}

func numberOf(v any) (number, bool) {
	switch v := v.(type) {
	case int64:
		if v < 0 {
			return number{negative: true, integer: -uint64(v)}, true
		}
		return number{integer: uint64(v)}, true
	case uint64:
		return number{integer: v}, true
	case broker.Timestamp:
		return number{integer: uint64(v)}, true
	case float32:
		return numberOfFloat(float64(v)), true
	case float64:
		return numberOfFloat(v), true
	}
	return number{}, false
}

func numberOfFloat(f float64) number {
	if size := math.Abs(f); size < 1<<64 && size == math.Trunc(size) {
		return number{negative: f < 0, integer: uint64(size)}
	}
	return number{float: f}
}

// identical compares values inside of arrays and tables, where RabbitMQ
// compares the types too, and what is neither number nor text.
func identical(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && string(a) == string(b)
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !identical(a[i], b[i]) {
				return false
			}
		}
		return true
	case broker.Table:
		b, ok := b.(broker.Table)
		if !ok || len(a) != len(b) {
			return false
		}
		for name := range a {
			if other, there := b[name]; !there || !identical(a[name], other) {
				return false
			}
		}
		return true
	}
	return a == b // a is comparable, and so this cannot panic
}
