package identity

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRedirectsNeverLeaveTLS(t *testing.T) {
	request := func(url string) *http.Request {
		return httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	}
	secure, plain := request("https://issuer.example/keys"), request("http://issuer.example/keys")
	for _, c := range []struct {
		name string
		to   *http.Request
		via  []*http.Request
		ok   bool
	}{
		{"https to https", secure, []*http.Request{secure}, true},
		{"http to https", secure, []*http.Request{plain}, true},
		{"http to http", plain, []*http.Request{plain}, true},
		{"https to http", plain, []*http.Request{secure}, false},
		{"https to http by way of https", plain, []*http.Request{secure, secure}, false},
		{"round and round", secure, []*http.Request{secure, secure, secure, secure, secure}, false},
	} {
		if err := neverFromTLS(c.to, c.via); (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
