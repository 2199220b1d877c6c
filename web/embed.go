// Package web holds what browsers are served, embedded: the JavaScript client
// and the inspector that uses it.
package web

import (
	"embed"
	"io/fs"
)

//go:embed client/warren.js
var client embed.FS

// Client returns the file warren.js.
func Client() fs.FS { return sub(client, "client") }

// sub cannot fail: the directory is in the binary.
func sub(files embed.FS, dir string) fs.FS {
	out, err := fs.Sub(files, dir)
	if err != nil {
		panic(err)
	}
	return out
}
