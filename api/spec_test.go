package api_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"

	"github.com/warren-gateway/warren"
)

// specification validates answers against openapi.yaml, which is read once.
var specification = sync.OnceValues(func() (validator.Validator, []error) {
	doc, err := libopenapi.NewDocument(warren.OpenAPI)
	if err != nil {
		return nil, []error{err}
	}
	return validator.NewValidator(doc, config.WithFormatAssertions())
})

// specMu serialises validations: the validator caches as it goes.
var specMu sync.Mutex

// asSpecified fails if an answer is not one that the specification allows. What
// it does not describe, unknown paths and methods, is left out.
func asSpecified(t testing.TB, r *http.Request, a answer) {
	t.Helper()
	if a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotFound && bytes.Contains(a.body, []byte(`"code":"not_found"`)) {
		return
	}
	v, errs := specification()
	for _, err := range errs {
		t.Fatal(err)
	}
	specMu.Lock()
	defer specMu.Unlock()
	resp := &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}
	if ok, failures := v.ValidateHttpResponse(r, resp); !ok {
		for _, f := range failures {
			t.Errorf("%s %s: %d is not as specified: %s: %s", r.Method, r.URL.Path, a.status, f.Message, f.Reason)
			for _, s := range f.SchemaValidationErrors {
				t.Errorf("  %s at %s", s.Reason, s.KeywordLocation)
			}
		}
	}
}

func TestSpecificationNoticesWhatItDoesNotSay(t *testing.T) {
	good := newGateway(t).do("GET", "/v1/exchanges", "")
	v, _ := specification()
	specMu.Lock()
	defer specMu.Unlock()
	for _, c := range []struct {
		status int
		body   string
		ok     bool
	}{
		{200, `{"exchanges":[{"name":"a"}]}`, true},
		{200, `{"exchanges":[{"name":"a","x":1}]}`, false},
		{200, `{"exchanges":{}}`, false},
		{299, `{}`, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/v1/exchanges", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: c.status, Header: good.header, Body: io.NopCloser(bytes.NewReader([]byte(c.body))), Request: r}
		if ok, failures := v.ValidateHttpResponse(r, resp); ok != c.ok {
			t.Errorf("%d %s is as specified: %v %v", c.status, c.body, ok, failures)
		}
	}
}
