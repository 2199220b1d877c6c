// Package web holds what browsers are served, embedded: the JavaScript client
// and the inspector that uses it.
package web

import (
	"embed"
	"io/fs"
)

//go:embed client/warren.js
var client embed.FS

//go:embed inspector/*.html inspector/*.js inspector/*.css inspector/*.svg
var inspector embed.FS

// Client returns the file warren.js.
func Client() fs.FS { return sub(client, "client") }

// Inspector returns index.html, which is served at /, and what it needs, which
// is served below /inspector/.
func Inspector() fs.FS { return sub(inspector, "inspector") }

// sub cannot fail: the directory is in the binary.
func sub(files embed.FS, dir string) fs.FS {
	out, err := fs.Sub(files, dir)
	if err != nil {
		panic(err)
	}
	return out
}
