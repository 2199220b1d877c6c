package identity_test

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/warren-gateway/warren/api/identity"
)

// FuzzPresented puts a token into every place at once: what is taken is one of
// those that were given, in the form of a token, and the same wherever it was given.
func FuzzPresented(f *testing.F) {
	for _, seed := range [][3]string{
		{"Bearer a.b.c", "", ""},
		{"bearer  a.b.c", "a.b.c", "a.b.c"},
		{"Basic x", "a.b.c", ""},
		{"Bearer", "", ""},
		{"Bearer a.b.c", "a.b.d", ""},
		{"", "", "a.b.c; warren_token=a.b.d"},
		{"", "a.b.c&access_token=a.b.d", ""},
		{"Bearer a.b.c d", "", ""},
		{"", "", `"a.b.c"`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, header, query, cookie string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/sse", nil)
		r.Header["Authorization"] = []string{header}
		r.Header["Cookie"] = []string{identity.CookieName + "=" + cookie}
		r.URL = &url.URL{Path: "/v1/sse", RawQuery: identity.QueryName + "=" + query}
		got, err := identity.FromStreamRequest(r)
		if err != nil {
			if _, ok := errors.AsType[*identity.Error](err); !ok || got.Token != "" {
				t.Fatalf("%+v, %v", got, err)
			}
			return
		}
		token := string(got.Token)
		if token == "" {
			return
		}
		if len(token) > identity.MaxTokenBytes || strings.ContainsAny(token, " \t\r\n;,\"=") {
			t.Fatalf("the token is %q", token)
		}
		elsewhere := strings.Contains(header, token) || slices.Contains(r.URL.Query()[identity.QueryName], token)
		if got.FromCookie && !strings.Contains(cookie, token) || !got.FromCookie && !elsewhere {
			t.Fatalf("%q from the cookie: %v", token, got.FromCookie)
		}
	})
}
