// Package web holds what browsers are served, embedded: the JavaScript client
// and the inspector that uses it.
package web

import (
	"bytes"
	"embed"
	"io/fs"
)

//go:embed client/warren.js
var client []byte

//go:embed inspector/*.html inspector/*.js inspector/*.css inspector/*.svg
var inspector embed.FS

// Client returns warren.js as browsers get it: without the lines that are only a comment, which are for those who read
// the source.
func Client() []byte {
	var out []byte
	for line := range bytes.Lines(client) {
		if code := bytes.TrimSpace(line); len(code) > 0 && !bytes.HasPrefix(code, []byte("//")) {
			out = append(out, line...)
		}
	}
	return out
}

// Inspector returns index.html, which is served at /, and what it needs, which
// is served below /inspector/.
func Inspector() fs.FS {
	out, err := fs.Sub(inspector, "inspector")
	if err != nil {
		panic(err) // the directory is in the binary
	}
	return out
}
