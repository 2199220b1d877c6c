package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree writes two files, of which all differs but name and content.
func tree(t *testing.T, mode os.FileMode, modified time.Time) []file {
	t.Helper()
	dir := t.TempDir()
	files := []file{{"warren-1/LICENSE", filepath.Join(dir, "LICENSE"), 0o644}, {"warren-1/warren", filepath.Join(dir, "warren"), 0o755}}
	for _, f := range files {
		if err := os.WriteFile(f.from, []byte("content of "+f.name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(f.from, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

const wanted = "warren-1/LICENSE -rw-r--r-- 1751371200 content of warren-1/LICENSE\nwarren-1/warren -rwxr-xr-x 1751371200 content of warren-1/warren\n"

func TestArchivesDependOnNamesContentsAndTheDateAlone(t *testing.T) {
	date := time.Date(2025, 7, 1, 14, 0, 0, 1, time.FixedZone("", 2*60*60))
	for kind, c := range map[string]struct {
		write func(io.Writer, time.Time, []file) error
		read  func([]byte) (string, error)
	}{"tar": {writeTar, readTar}, "zip": {writeZip, readZip}} {
		var one, two bytes.Buffer
		if err := c.write(&one, date, tree(t, 0o600, time.Unix(1, 0))); err != nil {
			t.Fatal(err)
		}
		if err := c.write(&two, date.UTC(), tree(t, 0o700, time.Unix(1e9, 0))); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s: the bytes differ", kind)
		}
		if got, err := c.read(one.Bytes()); err != nil || got != wanted {
			t.Errorf("%s: %v\n%s", kind, err, got)
		}
	}
}

func readTar(raw []byte) (string, error) {
	packed, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	out := ""
	for archive := tar.NewReader(packed); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		content, err := io.ReadAll(archive)
		if err != nil || h.Uid+h.Gid != 0 || h.Uname+h.Gname != "" {
			return out, fmt.Errorf("%w, owner %d %d %s %s", err, h.Uid, h.Gid, h.Uname, h.Gname)
		}
		out += fmt.Sprintf("%s %v %d %s\n", h.Name, h.FileInfo().Mode(), h.ModTime.Unix(), content)
	}
}

func readZip(raw []byte) (string, error) {
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return "", err
	}
	out := ""
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			return out, err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return out, err
		}
		out += fmt.Sprintf("%s %v %d %s\n", f.Name, f.Mode(), f.Modified.Unix(), content)
	}
	return out, nil
}

func TestSumsAreThoseOfSha256sum(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a", sums} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("abc"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSums(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, sums))
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
	if want := abc + "  a\n" + abc + "  b\n"; err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestReleaseSaysWhatItLacks(t *testing.T) {
	for _, args := range [][]string{{"--version", "1", "--date", "today"}, {"--date", "2025-07-01T12:00:00Z"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
