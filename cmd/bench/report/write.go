package report

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The part of a page that a report replaces.
const (
	beginMark = "<!-- bench: written by make bench; do not edit -->\n"
	endMark   = "<!-- end of bench -->\n"
)

// Write puts the tables into a file and the plot beside it, with the ending svg. In a file that has the two marks it replaces
// only what is between them.
func (r *Report) Write(file string, head Head) error {
	plot := strings.TrimSuffix(file, filepath.Ext(file)) + ".svg"
	page, err := os.ReadFile(file) //nolint:gosec // the user names the file
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, rest, found := strings.Cut(string(page), beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !found || !ended {
		before, after = "", ""
	}
	text := before + beginMark + "\n" + r.Markdown(head, filepath.Base(plot)) + "\n" + endMark + after
	const mode = 0o644
	return errors.Join(
		os.WriteFile(file, []byte(text), mode), //nolint:gosec // a page to be read by all
		os.WriteFile(plot, []byte(r.SVG()), mode),
	)
}
