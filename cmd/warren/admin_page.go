package main

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"net/http"
	"strings"
)

// adminPage is the page of the admin listener: one file that needs no other.
//
//go:embed admin.html
var adminPage string

// adminPolicy lets the page run its own script and style, told by their hashes,
// and talk to where it came from; nothing else.
var adminPolicy = "default-src 'none'; script-src " + hashOf(adminPage, "script") + "; style-src " + hashOf(adminPage, "style") +
	"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// hashOf returns the source expression of an element's text.
func hashOf(page, element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	text, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func serveAdminPage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", adminPolicy)
	_, _ = w.Write([]byte(adminPage)) // a client that is gone is no error of ours
}
