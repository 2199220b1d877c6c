package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/warren-gateway/warren/api/identity"
)

// indexPage is the inspector's page.
const indexPage = "index.html"

// file is a file in memory, with what its answers say of it.
type file struct {
	body, media, tag, policy string
}

var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".png":  "image/png",
	".ico":  "image/x-icon",
	".yaml": "application/yaml",
}

// static adds the routes of the files: the specifications, the client and the
// inspector. All are small, and read once.
func (a *API) static(r chi.Router) error {
	if len(a.opts.OpenAPI) > 0 {
		a.serveFile(r, "/openapi.yaml", newFile("openapi.yaml", a.opts.OpenAPI))
	}
	if len(a.opts.AsyncAPI) > 0 {
		a.serveFile(r, "/asyncapi.yaml", newFile("asyncapi.yaml", a.opts.AsyncAPI))
	}
	if a.opts.Client != nil {
		body, err := fs.ReadFile(a.opts.Client, "warren.js")
		if err != nil {
			return fmt.Errorf("the JavaScript client: %w", err)
		}
		a.serveFile(r, "/warren.js", newFile("warren.js", body))
	}
	if a.opts.Inspector == nil {
		return nil
	}
	entries, err := fs.ReadDir(a.opts.Inspector, ".")
	if err != nil {
		return fmt.Errorf("the inspector: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || mediaTypes[path.Ext(name)] == "" || strings.HasSuffix(name, ".test.js") {
			continue
		}
		body, err := fs.ReadFile(a.opts.Inspector, name)
		if err != nil {
			return fmt.Errorf("the inspector: %w", err)
		}
		where := "/inspector/" + name
		if name == indexPage {
			where = "/"
		}
		a.serveFile(r, where, newFile(name, body))
	}
	return nil
}

func newFile(name string, body []byte) file {
	sum := sha256.Sum256(body)
	f := file{body: string(body), media: mediaTypes[path.Ext(name)], tag: `"` + hex.EncodeToString(sum[:12]) + `"`, policy: pagePolicy}
	if f.media == mediaTypes[".yaml"] {
		f.policy = apiPolicy
	}
	return f
}

// serveFile adds the route of one file. It needs no token, but counts as a
// request of the address that asks.
func (a *API) serveFile(r chi.Router, pattern string, f file) {
	get := func(w http.ResponseWriter, r *http.Request, _ caller) error {
		h := w.Header()
		h.Set("Cache-Control", "no-cache") // kept, but asked for each time: a page and its client match
		h.Set("ETag", f.tag)
		h.Set("Content-Type", f.media)
		h.Set("Content-Security-Policy", f.policy)
		limitAnswer(w)
		if matchesTag(r.Header.Get("If-None-Match"), f.tag) {
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		_, _ = w.Write([]byte(f.body)) // a client that is gone is no error of ours
		return nil
	}
	a.handle(r, endpointREST, pattern, methods{"GET": get}, func(w http.ResponseWriter, r *http.Request, h handler) error {
		c := identity.AnonymousAt(middleware.GetClientIPAddr(r.Context()))
		if err := a.opts.Admission.Request(c.Caller()); err != nil {
			return err
		}
		return h(w, r, caller{Identity: c, key: c.Caller()})
	})
}

// matchesTag compares weakly, as RFC 9110 has it for If-None-Match.
func matchesTag(header, tag string) bool {
	for given := range strings.SplitSeq(header, ",") {
		given = strings.TrimPrefix(strings.TrimSpace(given), "W/")
		if given == tag || given == "*" {
			return true
		}
	}
	return false
}
