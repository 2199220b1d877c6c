package suite

import (
	"net/http"
	"regexp"
	"strings"
)

func init() {
	register(
		Check{Name: "be refused in every way that a client can bring about", Of: []string{"P-135", "P-136", "P-137"}, Run: errorsAll},
	)
}

// internals are what a detail must not hold: addresses, AMQP texts, names of queues.
var internals = regexp.MustCompile(`(?i)amqp|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|localhost|NOT_FOUND|ACCESS_REFUSED|PRECONDITION|RESOURCE_LOCKED|channel|goroutine|\.go:|warren\.[a-z0-9-]+\.`)

func errorsAll(t *T) {
	x := t.Exchange("topic")
	s := t.Create(on(x, "a"))
	calls := map[string][]Call{
		"invalid_request":        {{Method: "POST", Path: "/v1/subscriptions", Body: `{"x":1}`}, {Method: "GET", Path: "/v1/sse"}, {Method: "PATCH", Path: s.Path, Body: `{}`}},
		"invalid_position":       {{Method: "GET", Path: s.Path + "/sse?after=x"}},
		"forbidden":              {{Method: "GET", Path: "/v1/subscriptions"}},
		"forbidden_binding":      {{Method: "POST", Path: s.Path + "/bindings", Body: object{"bindings": on("warren.x", "#")}}},
		"forbidden_origin":       {{Method: "GET", Path: s.Path, Header: header("Origin", "https://evil.example")}},
		"not_found":              {{Method: "GET", Path: "/v1/nothing"}},
		"subscription_not_found": {{Method: "GET", Path: "/v1/subscriptions/none"}, {Method: "POST", Path: "/v1/subscriptions/none/pause"}},
		"binding_not_found":      {{Method: "DELETE", Path: s.Path + "/bindings/none"}},
		"exchange_not_found":     {{Method: "POST", Path: "/v1/subscriptions", Body: object{"bindings": on(t.Name(), "#")}}},
		"method_not_allowed":     {{Method: "PUT", Path: s.Path, Body: `{}`}},
		"body_too_large":         {{Method: "POST", Path: s.Path + "/bindings", Body: strings.Repeat(" ", 64<<10) + `{}`}},
		"unsupported_media_type": {{Method: "POST", Path: s.Path + "/bindings", Body: `{}`, Header: header("Content-Type", "text/plain")}},
		"upgrade_required":       {{Method: "GET", Path: s.Path + "/ws"}},
	}
	if t.options.Token != "" {
		delete(calls, "forbidden")
	}
	statuses := map[string]int{}
	for _, row := range t.contract.Tables().Problems {
		statuses[row.Code] = row.Status
	}
	seen := 0
	for code, list := range calls {
		for _, c := range list {
			r := t.Do(c)
			seen++
			if code == "exchange_not_found" && r.Code() == "forbidden_binding" {
				code = "forbidden_binding" // where the account may not even ask
			}
			kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
			t.Is("P-135", kind == "application/problem+json" && num(r.Body, "status") == int64(r.Status) && r.Code() == code &&
				str(r.Body, "type") == "urn:warren:problem:"+code, "%d refusals, the last: %s %s: %s", seen, c.Method, c.Path, r)
			t.Is("P-136", r.Status == statuses[r.Code()], "%d codes, each with its status, the last: %s", len(calls), r)
			detail := str(r.Body, "detail")
			t.Is("P-137", detail != "" && !internals.MatchString(detail), "%s: %q", r.Code(), detail)
			if r.Status != http.StatusNotFound && len(r.Raw) > 2000 {
				t.Errorf("%s: the problem has %d bytes", r, len(r.Raw))
			}
		}
	}
}
