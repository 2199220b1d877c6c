package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warren-gateway/warren/broker"
)

// MaxGrants is how many grants one token may hold.
const MaxGrants = 128

// TypeOf says of which type an exchange is known to be ("topic", "fanout", …), and whether it is known.
type TypeOf func(exchange string) (typ string, known bool)

// Grant allows to bind the exchanges that the glob selects with routing keys that the pattern contains.
type Grant struct {
	Exchange   broker.Glob
	RoutingKey broker.Pattern
}

// Grants are what one token allows. Each counts by itself: two grants that only together contain a pattern do not allow it.
type Grants []Grant

// Allow reports whether a binding is granted: some grant's glob selects the exchange, and its pattern contains the requested routing
// key, read as a topic pattern. A grant whose pattern is not "#" counts only where typ knows the exchange as "topic": a fanout or
// headers exchange delivers everything, whatever routing key it was bound with. A nil typ knows nothing.
func (g Grants) Allow(exchange, routingKey string, typ TypeOf) bool {
	requested, err := broker.ParsePattern(routingKey)
	if err != nil {
		return false
	}
	topic := isTopic(exchange, typ)
	return slices.ContainsFunc(g, func(grant Grant) bool {
		return grant.counts(topic) && grant.Exchange.Match(exchange) && grant.RoutingKey.Contains(requested)
	})
}

// Touch reports whether anything of an exchange is granted, so that it belongs in a list of what the caller may bind.
func (g Grants) Touch(exchange string, typ TypeOf) bool {
	topic := isTopic(exchange, typ)
	return slices.ContainsFunc(g, func(grant Grant) bool { return grant.counts(topic) && grant.Exchange.Match(exchange) })
}

func isTopic(exchange string, typ TypeOf) bool {
	if typ == nil {
		return false
	}
	name, known := typ(exchange)
	return known && name == "topic"
}

// counts reports whether the grant counts for an exchange that is a topic exchange, or may not be one.
func (g Grant) counts(topic bool) bool { return topic || g.RoutingKey.String() == "#" }

// errClaim is wrapped by what parseClaim returns. Its texts name places in the claim, never what was there.
var errClaim = errors.New(`the claim "warren"`)

// parseClaim reads the claim "warren": {"bind":[{"exchange":GLOB,"routing_key":PATTERN}],"max_subscriptions":N}. Member names are
// exact (encoding/json alone would take "BIND" for "bind"), unknown members are left to later versions, and a null is as good as
// nothing, but a member of another type makes the token invalid: half a claim is not what its issuer meant.
func parseClaim(data json.RawMessage) (Grants, int, error) {
	claim, err := object(data)
	if err != nil {
		return nil, 0, err
	}
	limit, err := parseLimit(claim["max_subscriptions"])
	if err != nil {
		return nil, 0, err
	}
	if isNull(claim["bind"]) {
		return nil, limit, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(claim["bind"], &list) != nil {
		return nil, 0, fmt.Errorf(`%w: "bind" is not an array`, errClaim)
	}
	if len(list) > MaxGrants {
		return nil, 0, fmt.Errorf(`%w: "bind" has more than %d grants`, errClaim, MaxGrants)
	}
	grants := make(Grants, 0, len(list))
	for i, item := range list {
		grant, err := parseGrant(item)
		if err != nil {
			return nil, 0, fmt.Errorf(`%w, in "bind", at %d`, err, i)
		}
		grants = append(grants, grant)
	}
	return grants, limit, nil
}

func parseGrant(data json.RawMessage) (Grant, error) {
	members, err := object(data)
	if err != nil {
		return Grant{}, err
	}
	exchange, err := text(members["exchange"])
	if err != nil {
		return Grant{}, fmt.Errorf(`%w: "exchange" is not a string`, errClaim)
	}
	routingKey, err := text(members["routing_key"])
	if err != nil {
		return Grant{}, fmt.Errorf(`%w: "routing_key" is not a string`, errClaim)
	}
	glob, err := broker.ParseGlob(exchange)
	if err != nil {
		return Grant{}, fmt.Errorf(`%w: "exchange" is not a glob`, errClaim)
	}
	pattern, err := broker.ParsePattern(routingKey)
	if err != nil {
		return Grant{}, fmt.Errorf(`%w: "routing_key" is not a pattern`, errClaim)
	}
	return Grant{Exchange: glob, RoutingKey: pattern}, nil
}

// parseLimit reads "max_subscriptions" into what Identity.MaxSubscriptions holds. There are issuers that write 2.0 for 2.
func parseLimit(data json.RawMessage) (int, error) {
	if isNull(data) {
		return 0, nil
	}
	var limit float64
	if json.Unmarshal(data, &limit) != nil || limit < 0 || limit > math.MaxInt32 || limit != math.Trunc(limit) {
		return 0, fmt.Errorf(`%w: "max_subscriptions" is not a number of subscriptions`, errClaim)
	}
	if limit == 0 {
		return -1, nil
	}
	return int(limit), nil
}

// object reads a JSON object into its members, null into none.
func object(data json.RawMessage) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if isNull(data) {
		return members, nil
	}
	if json.Unmarshal(data, &members) != nil {
		return nil, fmt.Errorf("%w: not an object", errClaim)
	}
	return members, nil
}

// text reads a JSON string; nothing and null are none.
func text(data json.RawMessage) (string, error) {
	var value *string
	if err := json.Unmarshal(data, &value); err != nil || value == nil {
		return "", errors.New("not a string")
	}
	return *value, nil
}

func isNull(data json.RawMessage) bool {
	return len(data) == 0 || bytes.Equal(bytes.TrimSpace(data), []byte("null"))
}

// MarshalJSON writes the grant as the claim has it.
func (g Grant) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"exchange": g.Exchange.String(), "routing_key": g.RoutingKey.String()})
}

// ParseGrant reads the command line's EXCHANGE=PATTERN; without "=" the pattern is "#". The first "=" divides: an exchange whose name
// has one is selected by a "*" in its place.
func ParseGrant(spec string) (Grant, error) {
	exchange, routingKey, ok := strings.Cut(spec, "=")
	if !ok {
		routingKey = "#"
	}
	glob, err := broker.ParseGlob(exchange)
	if err != nil {
		return Grant{}, fmt.Errorf("grant %q: %w", spec, err)
	}
	pattern, err := broker.ParsePattern(routingKey)
	if err != nil {
		return Grant{}, fmt.Errorf("grant %q: %w", spec, err)
	}
	return Grant{Exchange: glob, RoutingKey: pattern}, nil
}
