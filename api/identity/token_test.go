package identity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/warren-gateway/warren/api/identity"
)

const (
	tokenA = "aaaa.bbbb.cccc"
	tokenB = "dddd.eeee.ffff"
)

// presentation is a request in pieces.
type presentation struct {
	headers, query, cookies []string
}

func (p presentation) request(tb testing.TB) *http.Request {
	tb.Helper()
	target := "/v1/sse?exchange=e"
	for _, value := range p.query {
		target += "&access_token=" + value
	}
	request := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, target, nil)
	for _, value := range p.headers {
		request.Header.Add("Authorization", value)
	}
	for _, value := range p.cookies {
		request.Header.Add("Cookie", "warren_token="+value)
	}
	return request
}

func TestTokensAreFoundWhereTheContractSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		given  presentation
		want   string
		cookie bool
		reason identity.Reason
	}{
		{name: "nothing"},
		{name: "the header", given: presentation{headers: []string{"Bearer " + tokenA}}, want: tokenA},
		{name: "the scheme in another case", given: presentation{headers: []string{"bEARER  " + tokenA}}, want: tokenA},
		{name: "another scheme", given: presentation{headers: []string{"Basic dXNlcjpwYXNz"}}},
		{name: "a longer scheme", given: presentation{headers: []string{"Bearerx " + tokenA}}},
		{name: "another scheme and the cookie", given: presentation{headers: []string{"Basic dXNlcjpwYXNz"}, cookies: []string{tokenA}}, want: tokenA, cookie: true},
		{name: "the query", given: presentation{query: []string{tokenA}}, want: tokenA},
		{name: "the cookie", given: presentation{cookies: []string{tokenA}}, want: tokenA, cookie: true},
		{name: "an empty cookie", given: presentation{cookies: []string{""}}},
		{name: "the same in all three", given: presentation{headers: []string{"Bearer " + tokenA}, query: []string{tokenA}, cookies: []string{tokenA}}, want: tokenA},
		{name: "the same twice in a header", given: presentation{headers: []string{"Bearer " + tokenA, "Bearer " + tokenA}}, want: tokenA},
		{name: "a bare scheme", given: presentation{headers: []string{"Bearer"}}, reason: identity.ReasonMalformed},
		{name: "an empty token", given: presentation{headers: []string{"Bearer "}}, reason: identity.ReasonMalformed},
		{name: "an empty token and a good cookie", given: presentation{headers: []string{"Bearer "}, cookies: []string{tokenA}}, reason: identity.ReasonMalformed},
		{name: "a tab after the scheme", given: presentation{headers: []string{"Bearer\t" + tokenA}}, reason: identity.ReasonMalformed},
		{name: "two in one header", given: presentation{headers: []string{"Bearer " + tokenA + ", Bearer " + tokenA}}, reason: identity.ReasonMalformed},
		{name: "something behind it", given: presentation{headers: []string{"Bearer " + tokenA + " x"}}, reason: identity.ReasonMalformed},
		{name: "an empty query", given: presentation{query: []string{""}}, reason: identity.ReasonMalformed},
		{name: "huge", given: presentation{headers: []string{"Bearer " + strings.Repeat("a", identity.MaxTokenBytes+1)}}, reason: identity.ReasonMalformed},
		{name: "two headers", given: presentation{headers: []string{"Bearer " + tokenA, "Bearer " + tokenB}}, reason: identity.ReasonAmbiguous},
		{name: "header and query", given: presentation{headers: []string{"Bearer " + tokenA}, query: []string{tokenB}}, reason: identity.ReasonAmbiguous},
		{name: "header and cookie", given: presentation{headers: []string{"Bearer " + tokenA}, cookies: []string{tokenB}}, reason: identity.ReasonAmbiguous},
		{name: "two cookies", given: presentation{cookies: []string{tokenA, tokenB}}, reason: identity.ReasonAmbiguous},
		{name: "two in the query", given: presentation{query: []string{tokenA, tokenB}}, reason: identity.ReasonAmbiguous},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := identity.FromStreamRequest(c.given.request(t))
			if c.reason != "" {
				checkReason(t, err, c.reason)
				return
			}
			if err != nil || string(got.Token) != c.want || got.FromCookie != c.cookie {
				t.Errorf("got %q, cookie %v, %v", string(got.Token), got.FromCookie, err)
			}
		})
	}
}

func TestTheQueryCarriesTokensForStreamsOnly(t *testing.T) {
	got, err := identity.FromRequest(presentation{query: []string{tokenA}}.request(t))
	if err != nil || got.Token != "" {
		t.Errorf("got %q, %v", string(got.Token), err)
	}
	got, err = identity.FromRequest(presentation{query: []string{tokenA}, cookies: []string{tokenB}}.request(t))
	if err != nil || string(got.Token) != tokenB || !got.FromCookie {
		t.Errorf("got %q, %v", string(got.Token), err)
	}
}

func TestTokensArePrintedByNothing(t *testing.T) {
	presented := identity.Presented{Token: tokenA}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("token", presented.Token), slog.Any("presented", presented))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("token", presented.Token), slog.Any("presented", presented))
	encoded, err := json.Marshal(presented)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %s %q %+v %#v %x", presented, presented.Token, presented.Token, presented, presented, presented.Token) + log.String() + string(encoded)
	if strings.Contains(all, "bbbb") || strings.Contains(all, fmt.Sprintf("%x", "bbbb")) {
		t.Errorf("the token is in %s", all)
	}
}

func checkReason(tb testing.TB, err error, want identity.Reason) {
	tb.Helper()
	if got := refusal(tb, err); got.Reason != want {
		tb.Fatalf("got the reason %s (%v), want %s", got.Reason, got, want)
	}
}

func refusal(tb testing.TB, err error) identity.Error {
	tb.Helper()
	got, ok := errors.AsType[*identity.Error](err)
	if !ok {
		tb.Fatalf("got %v, want an Error", err)
	}
	return *got
}
