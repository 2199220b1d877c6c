package identity

import (
	"errors"
	"fmt"
	"strings"

	"github.com/warren-gateway/warren/broker"
)

// ownPrefix begins the names of the gateway's own exchanges, which no configuration opens.
const ownPrefix = "warren."

// Policy says which exchanges anybody may bind at all, whatever a token grants. It is made by NewPolicy; the zero Policy allows
// nothing. It is safe for concurrent use.
type Policy struct{ allow, deny []broker.Glob }

// PolicyOptions are the two lists of exchange globs.
type PolicyOptions struct {
	// Allow is what may be bound; nil: "*", everything. A list that is empty but not nil is an error: whoever gives it may mean
	// nothing, or everything.
	Allow []string
	// Deny is what may not, and wins over Allow; nil: "amq.rabbitmq.*", RabbitMQ's own events, traces and log, where anybody
	// would read everything. A list given here replaces that one: an empty one that is not nil denies nothing.
	Deny []string
}

// NewPolicy reads the globs. Errors are of an empty Allow, or wrap [broker.ErrGlob].
func NewPolicy(options PolicyOptions) (Policy, error) {
	switch {
	case options.Allow == nil:
		options.Allow = []string{"*"}
	case len(options.Allow) == 0:
		return Policy{}, errors.New("exchanges to allow: the list is empty")
	}
	if options.Deny == nil {
		options.Deny = []string{"amq.rabbitmq.*"}
	}
	allow, err := parseGlobs(options.Allow)
	if err != nil {
		return Policy{}, fmt.Errorf("exchanges to allow: %w", err)
	}
	deny, err := parseGlobs(options.Deny)
	if err != nil {
		return Policy{}, fmt.Errorf("exchanges to deny: %w", err)
	}
	return Policy{allow: allow, deny: deny}, nil
}

func parseGlobs(texts []string) ([]broker.Glob, error) {
	globs := make([]broker.Glob, 0, len(texts))
	for _, text := range texts {
		glob, err := broker.ParseGlob(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		globs = append(globs, glob)
	}
	return globs, nil
}

// Allows reports whether an exchange may be bound. The default exchange "" and the gateway's own may not, ever.
func (p Policy) Allows(exchange string) bool {
	if exchange == "" || strings.HasPrefix(exchange, ownPrefix) {
		return false
	}
	return matchesAny(p.allow, exchange) && !matchesAny(p.deny, exchange)
}

func matchesAny(globs []broker.Glob, name string) bool {
	for _, glob := range globs {
		if glob.Match(name) {
			return true
		}
	}
	return false
}
