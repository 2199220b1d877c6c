package broker

import (
	"crypto/sha256"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxShortString is the longest exchange name or routing key, in bytes: an AMQP short string.
const MaxShortString = 255

// maxArgumentDepth bounds how deep binding arguments nest, themselves the first level.
const maxArgumentDepth = 8

// Binding says which messages of an exchange a subscription wants. It is made
// by NewBinding and then always valid and immutable.
type Binding struct {
	exchange   string
	routingKey string
	arguments  Table
	argsJSON   string
	id         string
}

// NewBinding checks and makes a binding. arguments (may be nil) are those of a
// headers exchange, without tables inside; the caller does not change them
// afterwards. Errors are *Error of CodeInvalidRequest with Field set.
func NewBinding(exchange, routingKey string, arguments Table) (Binding, error) {
	if exchange == "" {
		return Binding{}, Errorf(CodeInvalidRequest, "the default exchange \"\" cannot be bound; name an exchange").WithField("exchange")
	}
	if err := checkShortString("exchange", exchange); err != nil {
		return Binding{}, err
	}
	// RabbitMQ takes line breaks out of a name before it looks for it, so what was allowed here would be another exchange there.
	if strings.ContainsAny(exchange, "\r\n") {
		return Binding{}, Errorf(CodeInvalidRequest, "exchange holds a line break, which no name of an exchange has").WithField("exchange")
	}
	if err := checkShortString("routing_key", routingKey); err != nil {
		return Binding{}, err
	}
	// One binding with many words "#" can stall a broker: see MaxHashes.
	if p, err := ParsePattern(routingKey); err == nil && p.Hashes() > MaxHashes {
		return Binding{}, Errorf(CodeInvalidRequest, "routing_key has more than 3 words #").WithField("routing_key")
	}
	for _, v := range arguments {
		if problem := argumentProblem(v, maxArgumentDepth-1); problem != "" {
			return Binding{}, Errorf(CodeInvalidRequest, problem).WithField("arguments")
		}
	}
	args := string(appendTable(nil, arguments, 0))
	b := Binding{exchange: exchange, routingKey: routingKey, arguments: arguments, argsJSON: args}
	b.id = bindingID(exchange, routingKey, args)
	return b, nil
}

func checkShortString(field, s string) error {
	switch {
	case len(s) > MaxShortString:
		return Errorf(CodeInvalidRequest, field+" is longer than 255 bytes").WithField(field)
	case !utf8.ValidString(s):
		return Errorf(CodeInvalidRequest, field+" is not valid UTF-8").WithField(field)
	case strings.ContainsRune(s, 0):
		return Errorf(CodeInvalidRequest, field+" holds a NUL character").WithField(field)
	}
	return nil
}

// argumentProblem says what is wrong with a value in binding arguments, if anything.
func argumentProblem(v any, levels int) string {
	switch v := v.(type) {
	case Table:
		// RabbitMQ sorts the fields of the arguments, but not those of a table inside: in another order, which a map does not
		// keep and JSON does not have, it is another binding, that could not be taken away and would be made again and again.
		return "arguments hold an object inside; they are names with plain values, or arrays of these"
	case []any:
		for _, e := range v {
			if levels == 0 {
				return "arguments nest deeper than 8 levels"
			}
			if problem := argumentProblem(e, levels-1); problem != "" {
				return problem
			}
		}
	}
	return ""
}

// bindingID derives the id from the content, so that the same binding has the
// same id everywhere. Lengths keep ("a","bc") and ("ab","c") apart.
func bindingID(exchange, key, args string) string {
	h := sha256.Sum256([]byte(strconv.Itoa(len(exchange)) + ":" + exchange + strconv.Itoa(len(key)) + ":" + key + args))
	return new(big.Int).SetBytes(h[:12]).Text(62)
}

// Exchange returns the exchange's name.
func (b Binding) Exchange() string { return b.exchange }

// RoutingKey returns the routing key or, on a topic exchange, the pattern.
func (b Binding) RoutingKey() string { return b.routingKey }

// Arguments returns the arguments, which must not be changed.
func (b Binding) Arguments() Table { return b.arguments }

// ArgumentsJSON returns the arguments as a JSON object, {} if there are none.
func (b Binding) ArgumentsJSON() string { return b.argsJSON }

// ID returns the id that is derived from the binding's content.
func (b Binding) ID() string { return b.id }

// BindingState tells whether a binding is in force.
type BindingState string

// The states of a binding.
const (
	// BindingBound is a binding that the broker has confirmed.
	BindingBound BindingState = "bound"
	// BindingMissing is a binding whose exchange is not there; the gateway keeps trying.
	BindingMissing BindingState = "missing"
)

// CanonicalBindings sorts bindings by id and drops repeats: sets of bindings
// are equal when their canonical forms are.
func CanonicalBindings(bindings []Binding) []Binding {
	out := append([]Binding(nil), bindings...)
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	n := 0
	for i := range out {
		if i == 0 || out[i].id != out[i-1].id {
			out[n] = out[i]
			n++
		}
	}
	return out[:n]
}

// bindingsKey names a set of bindings: the ids of its canonical form.
func bindingsKey(bindings []Binding) string {
	var sb strings.Builder
	for _, b := range CanonicalBindings(bindings) {
		sb.WriteString(b.id)
		sb.WriteByte(' ')
	}
	return sb.String()
}
