package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/warren-gateway/warren/api/identity"
)

// indexPage is the inspector's page.
const indexPage = "index.html"

// file is a file in memory, with what its answers say of it. It is compressed
// when somebody first asks for that: a gateway whose clients never load a page
// would spend most of its start on it, and some MiB.
type file struct {
	media, policy string
	plain         variant
	zipped        func() variant
}

// variant is a file in one content coding. Its tag is its own (RFC 9110, section 8.8.3.3).
type variant struct {
	body, tag, coding string
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
	if len(a.opts.Client) > 0 {
		a.serveFile(r, "/warren.js", newFile("warren.js", a.opts.Client))
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
	tag, plain := hex.EncodeToString(sum[:12]), string(body)
	f := file{
		media: mediaTypes[path.Ext(name)], policy: pagePolicy,
		plain: variant{body: plain, tag: `"` + tag + `"`},
		zipped: sync.OnceValue(func() variant {
			return variant{body: zip(plain), tag: `"` + tag + `-gzip"`, coding: "gzip"}
		}),
	}
	if f.media == mediaTypes[".yaml"] {
		f.policy = apiPolicy
	}
	return f
}

func zip(body string) string {
	var out bytes.Buffer
	to, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is one
	_, _ = io.WriteString(to, body)                          // a buffer takes all
	_ = to.Close()
	return out.String()
}

// acceptsGzip reports whether the client takes gzip, by name (RFC 9110, section 12.5.3).
func acceptsGzip(h http.Header) bool {
	for _, header := range h.Values("Accept-Encoding") {
		for offer := range strings.SplitSeq(header, ",") {
			coding, params, _ := strings.Cut(offer, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			_, weight, given := strings.Cut(params, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
			return !given || (err == nil && q > 0)
		}
	}
	return false
}

// serveFile adds the route of one file. It needs no token, but counts as a
// request of the address that asks.
func (a *API) serveFile(r chi.Router, pattern string, f file) {
	get := func(w http.ResponseWriter, r *http.Request, _ caller) error {
		h := w.Header()
		v := f.plain
		if acceptsGzip(r.Header) {
			v = f.zipped()
			h.Set("Content-Encoding", v.coding)
		}
		h.Add("Vary", "Accept-Encoding")
		h.Set("Cache-Control", "no-cache") // kept, but asked for each time: a page and its client match
		h.Set("ETag", v.tag)
		h.Set("Content-Type", f.media)
		h.Set("Content-Security-Policy", f.policy)
		limitAnswer(w)
		if matchesTag(r.Header.Get("If-None-Match"), v.tag) {
			h.Del("Content-Type")
			h.Del("Content-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		h.Set("Content-Length", strconv.Itoa(len(v.body)))
		_, _ = io.WriteString(w, v.body) // a client that is gone is no error of ours
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
