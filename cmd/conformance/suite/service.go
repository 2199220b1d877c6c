package suite

import (
	"bytes"
	"net/http"

	"github.com/warren-gateway/warren"
)

func init() {
	register(
		Check{Name: "ask for health", Of: []string{"P-190", "P-191"}, Run: serviceHealth},
		Check{Name: "ask for documents and pages", Of: []string{"P-192", "P-193"}, Run: serviceDocuments},
	)
}

func serviceHealth(t *T) {
	for id, path := range map[string]string{"P-190": "/livez", "P-191": "/readyz"} {
		r := t.Get(path)
		_, reasons := r.Body["reasons"].([]any)
		t.Is(id, r.Status == http.StatusOK && str(r.Body, "status") == "ok" && reasons, "%s: %s", r, r.Raw)
	}
}

func serviceDocuments(t *T) {
	for path, want := range map[string][]byte{"/openapi.yaml": warren.OpenAPI, "/asyncapi.yaml": warren.AsyncAPI} {
		r := t.Get(path)
		t.Is("P-192", r.Status == http.StatusOK && bytes.Equal(r.Raw, want), "%s: %s, %d bytes, those that this suite holds the gateway to: %v", path, r, len(r.Raw), bytes.Equal(r.Raw, want))
	}
	for _, path := range []string{"/", "/warren.js", "/openapi.yaml", "/asyncapi.yaml"} {
		first := t.Get(path)
		tag := first.Header.Get("ETag")
		second := t.Get(path, "If-None-Match", tag)
		third := t.Get(path, "If-None-Match", `"other"`)
		t.Is("P-193", len(tag) > 2 && tag[0] == '"' && second.Status == http.StatusNotModified && len(second.Raw) == 0 && third.Status == http.StatusOK,
			"%s: ETag %s, then %s", path, tag, second)
	}
}
