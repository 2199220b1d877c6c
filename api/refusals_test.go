package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/warren-gateway/warren/api"
	"github.com/warren-gateway/warren/broker"
)

func TestEveryCodeHasItsStatusAndDocument(t *testing.T) {
	want := map[broker.Code]int{
		broker.CodeInvalidRequest: 400, broker.CodeInvalidPosition: 400, broker.CodeUnauthorized: 401, broker.CodeForbidden: 403,
		broker.CodeForbiddenBinding: 403, broker.CodeForbiddenOrigin: 403, broker.CodeNotFound: 404, broker.CodeSubscriptionNotFound: 404,
		broker.CodeBindingNotFound: 404, broker.CodeExchangeNotFound: 404, broker.CodeMethodNotAllowed: 405, broker.CodeBodyTooLarge: 413,
		broker.CodeUnsupportedMediaType: 415, broker.CodeWrongHost: 421, broker.CodeUpgradeRequired: 426, broker.CodeSharedSubscription: 409,
		broker.CodeRateLimited: 429, broker.CodeLimitReached: 429, broker.CodeOverCapacity: 503, broker.CodeBrokerUnavailable: 503,
		broker.CodeShuttingDown: 503, broker.CodeBrokerTimeout: 504, broker.CodeInternal: 500,
	}
	for _, code := range broker.Codes() {
		if got := api.Status(code); got != want[code] {
			t.Errorf("%s: status %d, want %d", code, got, want[code])
		}
		doc := answer{header: http.Header{"Content-Type": {"application/problem+json"}}, body: api.Problem(broker.Errorf(code, "why"))}.problem(t)
		if doc.Type != "urn:warren:problem:"+string(code) || doc.Title == "" || doc.Status != want[code] ||
			doc.Detail != "why" || doc.Code != string(code) || doc.Binding != nil {
			t.Errorf("%s: document %+v", code, doc)
		}
	}
	if len(want) != len(broker.Codes()) {
		t.Errorf("%d codes, %d expected", len(broker.Codes()), len(want))
	}
}

// refusal is one bad request and its answer.
type refusal struct {
	name, method, path, body string
	header                   []string
	status                   int
	code, field              string
	binding                  int // index + 1; 0: none
}

func (c refusal) check(t *testing.T, g *gateway) {
	t.Helper()
	got := g.do(c.method, c.path, c.body, c.header...)
	p := got.problem(t)
	binding := 0
	if p.Binding != nil {
		binding = *p.Binding + 1
	}
	if got.status != c.status || p.Status != c.status || p.Code != c.code || p.Field != c.field || binding != c.binding || p.Detail == "" {
		t.Errorf("%s %s: status %d, %s; want %d %s field %q binding %d", c.method, c.path, got.status, got.body, c.status, c.code, c.field, c.binding-1)
	}
}

const jsonType = "application/json"

func bodyRefusals() []refusal {
	post := func(name, body, field string) refusal {
		return refusal{name: name, method: "POST", path: "/v1/subscriptions", body: body, status: 400, code: "invalid_request", field: field}
	}
	at := func(r refusal, binding int) refusal {
		r.binding = binding + 1
		return r
	}
	long := strings.Repeat("k", 300)
	nested := strings.Repeat("[", 20) + "1" + strings.Repeat("]", 20)
	return []refusal{
		post("no JSON", `{"bindings"`, ""),
		post("trailing value", `{} {}`, ""),
		post("an array", `[]`, ""),
		post("invalid UTF-8", "{\"payload\":\"\xff\"}", ""),
		post("unknown field", `{"nope":1}`, "nope"),
		post("field in another case", `{"Payload":"raw"}`, "Payload"),
		post("field twice", `{"payload":"raw","payload":"auto"}`, "payload"),
		post("bindings no array", `{"bindings":{}}`, "bindings"),
		post("bindings null", `{"bindings":null}`, "bindings"),
		post("linger a string", `{"linger_seconds":"60"}`, "linger_seconds"),
		post("linger a fraction", `{"linger_seconds":1.5}`, "linger_seconds"),
		post("linger zero", `{"linger_seconds":0}`, "linger_seconds"),
		post("linger too long", `{"linger_seconds":601}`, "linger_seconds"),
		post("payload unknown", `{"payload":"xml"}`, "payload"),
		post("payload empty", `{"payload":""}`, "payload"),
		at(post("default exchange", `{"bindings":[{"exchange":"","routing_key":"a"}]}`, "exchange"), 0),
		at(post("no exchange", `{"bindings":[{"routing_key":"a"}]}`, "exchange"), 0),
		at(post("no routing key", `{"bindings":[{"exchange":"orders"}]}`, "routing_key"), 0),
		at(post("second binding bad", `{"bindings":[{"exchange":"orders","routing_key":"a"},{"exchange":5,"routing_key":"a"}]}`, "exchange"), 1),
		at(post("unknown member", `{"bindings":[{"exchange":"orders","routing_key":"a","x":1}]}`, "x"), 0),
		at(post("long routing key", `{"bindings":[{"exchange":"orders","routing_key":"`+long+`"}]}`, "routing_key"), 0),
		at(post("long exchange", `{"bindings":[{"exchange":"`+long+`","routing_key":"a"}]}`, "exchange"), 0),
		at(post("half a surrogate", `{"bindings":[{"exchange":"orders","routing_key":"\ud800"}]}`, "routing_key"), 0),
		at(post("whole pair, then half a one", `{"bindings":[{"exchange":"orders","routing_key":"\ud83d\ude00\uDE00"}]}`, "routing_key"), 0),
		post("half a surrogate in a name", `{"\udc00":1}`, "\uFFFD"),
		at(post("half a surrogate in the name of an argument", `{"bindings":[{"exchange":"orders","routing_key":"a","arguments":{"b":[{"\ud800":1}]}}]}`, "\uFFFD"), 0),
		at(post("arguments no object", `{"bindings":[{"exchange":"orders","routing_key":"a","arguments":[]}]}`, "arguments"), 0),
		at(post("arguments too deep", `{"bindings":[{"exchange":"orders","routing_key":"a","arguments":{"a":`+nested+`}}]}`, "arguments"), 0),
		at(post("an object in arguments", `{"bindings":[{"exchange":"orders","routing_key":"a"},{"exchange":"orders","routing_key":"a","arguments":{"a":{"b":1}}}]}`, "arguments"), 1),
		at(post("an object in an array in arguments", `{"bindings":[{"exchange":"orders","routing_key":"a","arguments":{"a":[1,[{}]]}}]}`, "arguments"), 0),
		at(post("number out of range", `{"bindings":[{"exchange":"orders","routing_key":"a","arguments":{"n":1e999}}]}`, "arguments"), 0),
		post("JSON too deep", `{"bindings":[{"exchange":"orders","routing_key":"a","arguments":{"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}}]}`, ""),
		post("a bracket in a string does not nest", `{"linger_seconds":"`+strings.Repeat(`[\"`, 40)+`"}`, "linger_seconds"),
		post("65 bindings", manyBindings(65), "bindings"),
		{name: "missing exchange", method: "POST", path: "/v1/subscriptions", body: `{"bindings":[{"exchange":"orders","routing_key":"a"},{"exchange":"nope","routing_key":"a"}]}`, status: 404, code: "exchange_not_found", binding: 2},
		{name: "denied exchange", method: "POST", path: "/v1/subscriptions", body: `{"bindings":[{"exchange":"amq.rabbitmq.trace","routing_key":"#"}]}`, status: 403, code: "forbidden_binding", binding: 1},
		{name: "the gateway's own exchange", method: "POST", path: "/v1/subscriptions", body: `{"bindings":[{"exchange":"warren.dead","routing_key":"#"}]}`, status: 403, code: "forbidden_binding", binding: 1},
		{name: "no content type", method: "POST", path: "/v1/subscriptions", body: `{}`, header: []string{"Content-Type", ""}, status: 415, code: "unsupported_media_type"},
		{name: "a form", method: "POST", path: "/v1/subscriptions", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: "unsupported_media_type"},
		{name: "empty body", method: "POST", path: "/v1/subscriptions", header: []string{"Content-Type", jsonType}, status: 400, code: "invalid_request"},
		{name: "arguments that grow", method: "POST", path: "/v1/subscriptions", body: `{"bindings":[{"exchange":"orders","routing_key":"","arguments":{"a":[` + strings.Repeat("9e15,", 12_000) + `1]}}]}`, status: 400, code: "invalid_request", field: "bindings"},
		{name: "large body", method: "POST", path: "/v1/subscriptions", body: `{"payload":"` + strings.Repeat("x", 64<<10) + `"}`, status: 413, code: "body_too_large"},
	}
}

func manyBindings(n int) string {
	var list []string
	for i := range n {
		list = append(list, `{"exchange":"orders","routing_key":"k`+strings.Repeat("x", i)+`"}`)
	}
	return `{"bindings":[` + strings.Join(list, ",") + `]}`
}

func pathRefusals() []refusal {
	return []refusal{
		{name: "unknown path", method: "GET", path: "/v2", status: 404, code: "not_found"},
		{name: "trailing slash", method: "GET", path: "/v1/exchanges/", status: 404, code: "not_found"},
		{name: "unknown id", method: "GET", path: "/v1/subscriptions/nope", status: 404, code: "subscription_not_found"},
		{name: "unknown id, stream", method: "GET", path: "/v1/subscriptions/nope/sse", status: 404, code: "subscription_not_found"},
		{name: "unknown id, DELETE", method: "DELETE", path: "/v1/subscriptions/nope", status: 404, code: "subscription_not_found"},
		{name: "unknown id, PATCH", method: "PATCH", path: "/v1/subscriptions/nope", body: `{"linger_seconds":5}`, status: 404, code: "subscription_not_found"},
		{name: "unknown id, bind", method: "POST", path: "/v1/subscriptions/nope/bindings", body: manyBindings(1), status: 404, code: "subscription_not_found"},
		{name: "content before existence", method: "PATCH", path: "/v1/subscriptions/nope", body: `{}`, status: 400, code: "invalid_request", field: "linger_seconds"},
		{name: "anonymous list", method: "GET", path: "/v1/subscriptions", status: 403, code: "forbidden"},
		{name: "wrong method", method: "PUT", path: "/v1/subscriptions", status: 405, code: "method_not_allowed"},
		{name: "unheard-of method", method: "BREW", path: "/v1/exchanges", status: 405, code: "method_not_allowed"},
		{name: "unheard-of method on no path", method: "BREW", path: "/v2", status: 404, code: "not_found"},
		{name: "stream of no bindings", method: "GET", path: "/v1/sse?bindings=[]", status: 400, code: "invalid_request", field: "bindings"},
		{name: "socket of no bindings", method: "GET", path: "/v1/ws?bindings=[]", status: 426, code: "upgrade_required"},
		{name: "socket without upgrade", method: "GET", path: "/v1/ws", status: 426, code: "upgrade_required"},
		{name: "socket by HEAD", method: "GET", path: "/v1/subscriptions/nope/ws", status: 426, code: "upgrade_required"},
		{name: "rebound name", method: "GET", path: "/v1/exchanges", header: []string{"Host", "evil.example"}, status: 421, code: "wrong_host"},
		{name: "foreign origin", method: "GET", path: "/v1/exchanges", header: []string{"Origin", "https://evil.example"}, status: 403, code: "forbidden_origin"},
		{name: "opaque origin", method: "GET", path: "/v1/exchanges", header: []string{"Origin", "null"}, status: 403, code: "forbidden_origin"},
		{name: "foreign image", method: "GET", path: "/v1/sse?exchange=orders", header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403, code: "forbidden_origin"},
		{name: "declare with another type", method: "PUT", path: "/v1/exchanges/orders", body: `{"type":"fanout"}`, status: 400, code: "invalid_request", field: "type"},
		{name: "declare without type", method: "PUT", path: "/v1/exchanges/x", body: `{}`, status: 400, code: "invalid_request", field: "type"},
		{name: "declare a reserved name", method: "PUT", path: "/v1/exchanges/amq.x", body: `{"type":"topic"}`, status: 400, code: "invalid_request", field: "name"},
		{name: "declare the gateway's", method: "PUT", path: "/v1/exchanges/warren.x", body: `{"type":"topic"}`, status: 400, code: "invalid_request", field: "name"},
		{name: "declare with arguments", method: "PUT", path: "/v1/exchanges/x", body: `{"type":"topic","arguments":{"a":1}}`, status: 400, code: "invalid_request", field: "arguments"},
		{name: "publish nowhere", method: "POST", path: "/v1/exchanges/nope/publish", body: `{"routing_key":"a","payload":"b"}`, status: 404, code: "exchange_not_found"},
		{name: "publish without payload", method: "POST", path: "/v1/exchanges/orders/publish", body: `{"routing_key":"a"}`, status: 400, code: "invalid_request", field: "payload"},
		{name: "publish bad base64", method: "POST", path: "/v1/exchanges/orders/publish", body: `{"routing_key":"a","payload":"%","payload_encoding":"base64"}`, status: 400, code: "invalid_request", field: "payload"},
		{name: "publish bad property", method: "POST", path: "/v1/exchanges/orders/publish", body: `{"routing_key":"a","payload":"","properties":{"timestamp":"now"}}`, status: 400, code: "invalid_request", field: "properties.timestamp"},
	}
}

func queryRefusals() []refusal {
	sse := func(name, query, field string) refusal {
		return refusal{name: name, method: "GET", path: "/v1/sse?" + query, status: 400, code: "invalid_request", field: field}
	}
	at := func(r refusal, binding int) refusal {
		r.binding = binding + 1
		return r
	}
	return []refusal{
		sse("no bindings", "", "exchange"),
		sse("unknown parameter", "exchange=orders&routingkey=a", "routingkey"),
		sse("bad escape", "exchange=orders&routing_key=%zz", ""),
		sse("uneven", "exchange=orders&exchange=orders&routing_key=a", "routing_key"),
		sse("key without exchange", "routing_key=a", "routing_key"),
		at(sse("a lost #", "exchange=orders&routing_key=", "routing_key"), 0),
		at(sse("default exchange", "exchange=", "exchange"), 0),
		sse("both forms", "exchange=orders&bindings=[]", "bindings"),
		sse("bindings no JSON", "bindings=x", "bindings"),
		sse("bindings empty", "bindings=", "bindings"),
		at(sse("an object in arguments", `bindings=[{"exchange":"orders","routing_key":"a","arguments":{"a":{}}}]`, "arguments"), 0),
		sse("payload", "exchange=orders&payload=xml", "payload"),
		sse("payload empty", "exchange=orders&payload=", "payload"),
		sse("share", "exchange=orders&share=maybe", "share"),
		sse("linger on shared", "exchange=orders&linger_seconds=5", "linger_seconds"),
		sse("linger", "exchange=orders&share=false&linger_seconds=0", "linger_seconds"),
		sse("linger signed", "exchange=orders&share=false&linger_seconds=%2B5", "linger_seconds"),
		sse("from", "exchange=orders&from=now", "from"),
		sse("from unread on shared", "exchange=orders&from=unread", "from"),
		sse("last", "exchange=orders&last=-1", "last"),
		sse("from and last", "exchange=orders&from=latest&last=1", "last"),
		sse("twice", "exchange=orders&from=latest&from=latest", "from"),
		at(sse("long key", "exchange=orders&routing_key="+strings.Repeat("k", 300), "routing_key"), 0),
		{name: "after malformed", method: "GET", path: "/v1/sse?exchange=orders&after=x", status: 400, code: "invalid_position", field: "after"},
		{name: "after empty", method: "GET", path: "/v1/sse?exchange=orders&after=", status: 400, code: "invalid_position", field: "after"},
		{name: "after malformed beside a header", method: "GET", path: "/v1/sse?exchange=orders&after=x", header: []string{"Last-Event-ID", "a.1"}, status: 400, code: "invalid_position", field: "after"},
		{name: "missing exchange", method: "GET", path: "/v1/sse?exchange=orders&exchange=nope", status: 404, code: "exchange_not_found", binding: 2},
		{name: "denied exchange", method: "GET", path: "/v1/sse?exchange=amq.rabbitmq.event", status: 403, code: "forbidden_binding", binding: 1},
		{name: "an exchange refused to an EventSource", method: "GET", path: "/v1/sse?exchange=nope", header: []string{"Accept", "text/event-stream"}, status: 404, code: "exchange_not_found", binding: 1},
	}
}

func TestEachBadRequestHasItsAnswer(t *testing.T) {
	g := newGateway(t)
	g.declare("orders", "topic")
	bystander := g.stream("/v1/sse?exchange=orders")
	bystander.expect("ready")
	for _, group := range [][]refusal{bodyRefusals(), pathRefusals(), queryRefusals()} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) { c.check(t, g) })
		}
	}
	g.publish(`{"n":1}`)
	if f := bystander.expect("message"); f["exchange"] != "orders" {
		t.Errorf("the bystander got %v", f)
	}
}
