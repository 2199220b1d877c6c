package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// binding is one in a request.
type binding struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

func bindingsJSON(list ...binding) string {
	data, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(data)
}

// bindEverywhere asks for the bindings in every way that there is.
func (h *hostile) bindEverywhere(token, bindings string) string {
	h.t.Helper()
	var got answers
	auth := "Authorization: Bearer " + token
	query := "?bindings=" + url.QueryEscape(bindings)
	got.add(h.request("POST /v1/subscriptions", `{"bindings":`+bindings+`}`, auth))
	got.add(h.request("GET /v1/sse"+query, "", auth, "Accept: text/event-stream"))
	got.add(h.request("GET /v1/sse"+query+"&share=false", "", auth))
	got.add(h.request("GET /v1/ws"+query, "", append([]string{auth}, upgradeHeader...)...))
	got.add(h.firstMessage(query, object{"type": "auth", "token": token}))
	conn, r := h.socket(0, "/v1/ws", auth)
	h.write(conn, wsFrame(wsFinal|wsText, `{"type":"bind","bindings":`+bindings+`}`))
	got.add(socketAnswer(r))
	return got.String()
}

const bindingForbidden = "403 forbidden_binding, 4403 forbidden_binding, error forbidden_binding"

func grantCases(k *tokenKeys) []hostileCase {
	const bindingInvalid = "400 invalid_request, 4400 invalid_request, error invalid_request"
	rows := []struct {
		name, grants  string // EXCHANGE=PATTERN, with spaces between
		exchange, key string
		want          string
	}{
		{"no grant at all", "", "orders", "eu.de", bindingForbidden},
		{"all behind a prefix", "orders=eu.#", "orders", "#", bindingForbidden},
		{"a word of any kind behind one", "orders=eu.de", "orders", "*.de", bindingForbidden},
		{"many words behind one", "orders=eu.*", "orders", "eu.#", bindingForbidden},
		{"one or more behind one", "orders=eu.*", "orders", "eu.*.#", bindingForbidden},
		{"none or more behind one or more", "orders=eu.*.#", "orders", "eu.#", bindingForbidden},
		{"many in the middle", "orders=eu.*.x", "orders", "eu.#.x", bindingForbidden},
		{"all, in two signs", "orders=eu.#", "orders", "#.#", bindingForbidden},
		{"a longer key", "orders=eu.de", "orders", "eu.de.x", bindingForbidden},
		{"an empty word behind", "orders=eu.de", "orders", "eu.de.", bindingForbidden},
		{"the key in capitals", "orders=eu.#", "orders", "EU.de", bindingForbidden},
		{"two grants that cover it together", "orders=eu.# orders=us.#", "orders", "#", bindingForbidden},
		{"two grants that split a word", "orders=*.a orders=*.b", "orders", "*.*", bindingForbidden},
		{"fanout behind a narrow grant", "news=eu.#", "news", "eu.de", bindingForbidden},
		{"headers exchange behind a narrow grant", "rules=eu.#", "rules", "eu.de", bindingForbidden},
		{"exchange of unknown type behind a narrow grant", "plain=eu.#", "plain", "eu.de", bindingForbidden},
		{"exchange that does not exist behind a narrow grant", "nowhere=eu.#", "nowhere", "eu.de", bindingForbidden},
		{"exchange with a longer name", "orders=#", "orders.eu", "#", bindingForbidden},
		{"exchange in capitals", "orders=#", "Orders", "#", bindingForbidden},
		{"exchange with a space behind", "orders=#", "orders ", "#", bindingForbidden},
		{"exchange in Cyrillic", "orders=#", "\u043erders", "#", bindingForbidden},
		{"exchange that is a glob", "orders*=#", "*", "#", bindingForbidden},
		{"whether an exchange exists is not told", "orders=#", "nowhere", "#", bindingForbidden},
		{"what the configuration denies", "*=#", "secret", "#", bindingForbidden},
		{"what the configuration denies, behind a line break", "*=#", "\nsecret", "#", bindingInvalid},
		{"the broker's events, with a carriage return within", "*=#", "amq.\rrabbitmq.event", "#", bindingInvalid},
		{"the gateway's own exchange, before a line break", "*=#", "warren.node\n", "#", bindingInvalid},
		{"the broker's trace", "*=#", "amq.rabbitmq.trace", "#", bindingForbidden},
		{"the broker's events", "*=#", "amq.rabbitmq.event", "#", bindingForbidden},
		{"the gateway's own exchange", "*=#", "warren.node", "#", bindingForbidden},
		{"the default exchange", "*=#", "", "#", bindingInvalid},
		{"a pattern that stalls the broker", "*=#", "orders", "#.a.#.b.#.c.#", bindingInvalid},
		{"a key of 256 bytes", "*=#", "orders", strings.Repeat("k", 256), bindingInvalid},
		{"a key with NUL", "*=#", "orders", "a\x00b", bindingInvalid},
	}
	var cases []hostileCase
	for i, row := range rows {
		token := k.signed(object{"alg": "EdDSA"}, claimsOf(fmt.Sprint("mallory-", i), nil, strings.Fields(row.grants)...))
		cases = append(cases, hostileCase{name: "grant: " + row.name, tokens: true, want: row.want, attack: func(h *hostile) string {
			return h.bindEverywhere(token, bindingsJSON(binding{row.exchange, row.key}))
		}})
	}
	return append(cases, hostileCase{
		name: "grant: one bad binding among good ones", tokens: true, want: bindingForbidden, attack: func(h *hostile) string {
			return h.bindEverywhere(k.mint(h.t, "mallory-mixed", "orders=eu.#"), bindingsJSON(binding{"orders", "eu.a"}, binding{"orders", "us.a"}, binding{"orders", "eu.b"}))
		},
	})
}

// identityCases are tokens that are good, presented where they must not count.
func identityCases(k *tokenKeys) []hostileCase {
	mint := func(sub string, bind ...string) string {
		return k.signed(object{"alg": "EdDSA"}, claimsOf(sub, nil, bind...))
	}
	good, other := mint("mallory", "good=#"), mint("eve", "good=#")
	const list, stream = "GET /v1/exchanges", "GET /v1/sse?exchange=good"
	http := func(name, want, line string, header ...string) hostileCase {
		return hostileCase{name: "identity: " + name, tokens: true, want: want, attack: func(h *hostile) string { return h.request(line, "", header...) }}
	}
	first := func(name string, message any) hostileCase {
		return hostileCase{name: "identity: " + name, tokens: true, want: "4401 unauthorized", attack: func(h *hostile) string {
			return h.firstMessage("?exchange=good", message)
		}}
	}
	renew := func(name, want, token string) hostileCase {
		return hostileCase{name: "identity: " + name, tokens: true, want: want, attack: func(h *hostile) string {
			conn, r := h.socket(0, "/v1/ws?exchange=good", "Authorization: Bearer "+good)
			h.write(conn, wsFrame(wsFinal|wsText, `{"type":"auth","token":"`+token+`"}`))
			for { // numbered messages come in between
				if got := socketAnswer(r); got != "message" {
					return got
				}
			}
		}}
	}
	return []hostileCase{
		http("two tokens, header and query", "401 unauthorized", stream+"&access_token="+other, "Authorization: Bearer "+good),
		http("two tokens, header and cookie", "401 unauthorized", list, "Authorization: Bearer "+good, "Cookie: warren_token="+other),
		http("two tokens, query and cookie", "401 unauthorized", stream+"&access_token="+good, "Cookie: warren_token="+other),
		http("three places, one of them bad", "401 unauthorized", stream+"&access_token="+good, "Authorization: Bearer "+good, "Cookie: warren_token=a.b.c"),
		http("two Authorization headers", "401 unauthorized", list, "Authorization: Bearer "+good, "Authorization: Bearer "+other),
		http("two cookies", "401 unauthorized", list, "Cookie: warren_token="+good+"; warren_token="+other),
		http("two tokens in the query", "401 unauthorized", stream+"&access_token="+good+"&access_token="+other),
		http("two words after Bearer", "401 unauthorized", list, "Authorization: Bearer "+good+" "+good),
		http("another scheme", "401 unauthorized", list, "Authorization: Basic "+good),
		http("query of a REST request", "401 unauthorized", list+"?access_token="+good),
		http("cookie of a cross-site page", "403 forbidden_origin", list, "Cookie: warren_token="+good, "Sec-Fetch-Site: cross-site"),
		http("cookie of another port's page", "403 forbidden_origin", list, "Cookie: warren_token="+good, "Sec-Fetch-Site: same-site"),
		http("cookie of a foreign page's WebSocket", "403 forbidden_origin", "GET /v1/ws?exchange=good", append(upgradeHeader, "Cookie: warren_token="+good, "Origin: https://evil.example")...),
		first("first message that binds", object{"type": "bind", "bindings": []binding{{"good", "#"}}}),
		first("first message that is no JSON", "token="+good),
		first("first message with a member too many", object{"type": "auth", "token": good, "sub": "root"}),
		first("first message with a list of tokens", object{"type": "auth", "token": []string{good}}),
		renew("auth of another subject", "error forbidden", other),
		renew("auth that grants less", "error forbidden_binding", mint("mallory", "good=n")),
		renew("auth that is expired", "error unauthorized", k.signed(object{"alg": "EdDSA"}, claimsOf("mallory", object{"exp": 1}, "good=#"))),
	}
}

// foreignCases are what belongs to somebody else.
func foreignCases() []hostileCase {
	const mine = "alice"
	rows := []struct{ name, line, body, want string }{
		{"read", "GET SELF", "", "403 forbidden"},
		{"keep alive", "PATCH SELF", `{"linger_seconds":600}`, "403 forbidden"},
		{"delete", "DELETE SELF", "", "403 forbidden"},
		{"bind", "POST SELF/bindings", `{"bindings":[{"exchange":"good","routing_key":"#"}]}`, "403 forbidden"},
		{"replace", "PUT SELF/bindings", `{"bindings":[]}`, "403 forbidden"},
		{"unbind", "DELETE SELF/bindings/BINDING", "", "403 forbidden"},
		{"pause", "POST SELF/pause", "", "403 forbidden"},
		{"resume", "POST SELF/resume", "", "403 forbidden"},
		{"listen without the grant", "GET SELF/sse", "", "403 forbidden_binding"},
		{"by its stream id", "GET /v1/subscriptions/STREAM", "", "404 subscription_not_found"},
		{"by an id that is nobody's", "GET /v1/subscriptions/AAAAAAAAAAAAAAAAAAAAAA/sse", "", "404 subscription_not_found"},
		{"by part of its id", "GET /v1/subscriptions/PART", "", "404 subscription_not_found"},
		{"by a way round in the path", "GET /v1/subscriptions/x/../ID", "", "404 not_found"},
		{"by a way round in the path, encoded", "GET /v1/subscriptions/x%2F..%2FID", "", "404 subscription_not_found"},
		{"by two slashes", "GET //v1/subscriptions/ID", "", "404 not_found"},
		{"by another method's name", "GET SELF?_method=DELETE", "", "403 forbidden"},
		{"by a header for another method", "GET SELF", "X-HTTP-Method-Override: DELETE", "403 forbidden"},
	}
	cases := make([]hostileCase, 0, len(rows)+3)
	for i, row := range rows {
		cases = append(cases, hostileCase{name: "foreign id: " + row.name, tokens: true, want: row.want, attack: func(h *hostile) string {
			s := h.victim(mine)
			line := strings.NewReplacer("SELF", s.Links.Self, "STREAM", s.Stream, "PART", s.ID[:21], "ID", s.ID, "BINDING", s.Bindings[0].ID).Replace(row.line)
			header := []string{"Authorization: Bearer " + h.world.keys.mint(h.t, fmt.Sprint("thief-", i), "good=#")}
			body := row.body
			if strings.HasPrefix(body, "X-") {
				header, body = append(header, body), ""
			}
			return h.request(line, body, header...)
		}})
	}
	const position = "Last-Event-ID: "
	return append(cases,
		hostileCase{name: "foreign id: another subject's position", tokens: true, want: "ready, gap", attack: func(h *hostile) string {
			s := h.victim(mine)
			_, r := h.socket(0, "/v1/ws?exchange=orders&routing_key=eu.%23&share=false", position+s.Stream+".0", "Authorization: Bearer "+h.world.keys.mint(h.t, "thief-position", "orders=#"))
			return "ready, " + socketAnswer(r)
		}},
		hostileCase{name: "foreign id: anonymous listing", want: "403 forbidden", attack: func(h *hostile) string { return h.request("GET /v1/subscriptions", "") }},
		hostileCase{name: "foreign id: binding for everybody on a shared subscription", want: "error shared_subscription", attack: func(h *hostile) string {
			conn, r := h.socket(0, "/v1/ws?exchange=orders")
			h.write(conn, wsFrame(wsFinal|wsText, `{"type":"bind","bindings":[{"exchange":"good","routing_key":"#"}]}`))
			return socketAnswer(r)
		}},
	)
}

// victim makes a subscription of another subject's.
func (h *hostile) victim(sub string) subscription {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.gateway.URL+"/v1/subscriptions",
		strings.NewReader(`{"bindings":`+bindingsJSON(binding{"orders", "eu.#"})+`,"linger_seconds":30}`))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.world.keys.mint(h.t, fmt.Sprint(sub, "-", h.number), "orders=#"))
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var s subscription
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || resp.StatusCode != http.StatusCreated {
		h.t.Fatalf("creating for %s: %d %v", sub, resp.StatusCode, err)
	}
	return s
}
