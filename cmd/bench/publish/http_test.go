package publish

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
)

// TestPeersGetBodiesAsTheirAPIsWantThem publishes twice, as to a form with a token, and as to a JSON API.
func TestPeersGetBodiesAsTheirAPIsWantThem(t *testing.T) {
	var got, head []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		head = append(head, r.Header.Get("Content-Type")+" "+r.Header.Get("Authorization"))
		if body, err := io.ReadAll(r.Body); err == nil {
			got = append(got, string(body))
		}
	}))
	defer server.Close()
	const size = 64
	when := time.Now().UnixNano()
	for _, to := range []Target{
		{Kind: HTTP, URL: server.URL + "/form", ContentType: "application/x-www-form-urlencoded", Token: "t", Before: "topic=a&data="},
		{Kind: HTTP, URL: server.URL + "/json", Before: `{"data":`, After: "}"},
	} {
		s, err := newHTTP(t.Context(), Job{Target: to, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.send(t.Context(), when); err != nil {
			t.Error(err)
		}
		s.close()
	}
	body, at := load.Body(size)
	load.Stamp(body, at, when)
	if want := "topic=a&data=" + string(body) + "|" + `{"data":` + string(body) + "}"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := "application/x-www-form-urlencoded Bearer t|application/json "; strings.Join(head, "|") != want {
		t.Errorf("got %q, want %q", head, want)
	}
}
