// Command release builds what is published of a version: for each system and processor an archive with the static binary, LICENSE and
// README.md, an SBOM beside it (CycloneDX), and SHA256SUMS over all of them. "make release" calls it.
//
// The same commit and the same Go give the same bytes: no path of the machine, no time but the commit's and no order of files gets in.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// platform is what a binary is built for.
type platform struct{ system, processor string }

func platforms() []platform {
	all := make([]platform, 0, 6)
	for _, system := range []string{"darwin", "linux", "windows"} {
		for _, processor := range []string{"amd64", "arm64"} {
			all = append(all, platform{system, processor})
		}
	}
	return all
}

// release is what is to be built.
type release struct {
	version string    // in the names of files
	date    time.Time // of the files in archives
	ldflags string
	sbom    string // the program cyclonedx-gomod
	dir     string // where it all goes
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var r release
	var date string
	flags := pflag.NewFlagSet("release", pflag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "the version, for the names of files")
	flags.StringVar(&date, "date", "", "when the commit was made, as RFC 3339: the time of the files in archives")
	flags.StringVar(&r.ldflags, "ldflags", "", "for go build")
	flags.StringVar(&r.sbom, "cyclonedx-gomod", "", "the program that writes the SBOMs")
	flags.StringVar(&r.dir, "out", "dist", "the directory to make; it must not be there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if r.date, err = time.Parse(time.RFC3339, date); err != nil {
		return fmt.Errorf("--date: %w", err)
	}
	if r.version == "" || r.sbom == "" {
		return errors.New("give --version and --cyclonedx-gomod")
	}
	if err := os.Mkdir(r.dir, 0o755); err != nil { //nolint:gosec // it is to be published
		return err
	}
	for _, p := range platforms() {
		name, err := r.publish(ctx, p)
		if err != nil {
			return fmt.Errorf("%s on %s: %w", p.system, p.processor, err)
		}
		fmt.Fprintln(out, filepath.Join(r.dir, name))
	}
	return writeSums(r.dir)
}

// publish makes archive and SBOM of one platform, and returns the archive's name.
func (r *release) publish(ctx context.Context, p platform) (archive string, err error) {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := "warren"
	if p.system == "windows" {
		program += ".exe"
	}
	binary := filepath.Join(dir, program)
	// Commit and date are in ldflags; what Go would note of the work tree by itself differs with how it was cloned.
	if err := p.run(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", r.ldflags, "-o", binary, "./cmd/warren"); err != nil {
		return "", err
	}
	base := fmt.Sprintf("warren-%s-%s-%s", strings.ReplaceAll(r.version, "/", "-"), p.system, p.processor)
	sbom := filepath.Join(r.dir, base+".cdx.json")
	if err := p.run(ctx, r.sbom, "app", "-json", "-licenses", "-std", "-noserial", "-notimestamp", "-main", "cmd/warren", "-output", sbom, "."); err != nil {
		return "", err
	}
	files := []file{{base + "/LICENSE", "LICENSE", 0o644}, {base + "/README.md", "README.md", 0o644}, {base + "/" + program, binary, 0o755}}
	write := writeTar
	archive = base + ".tar.gz"
	if p.system == "windows" {
		write, archive = writeZip, base+".zip"
	}
	return archive, create(filepath.Join(r.dir, archive), func(w io.Writer) error { return write(w, r.date, files) })
}

// run runs a command that builds for the platform. What it says is told if it fails.
func (p platform) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // go, and the program that the caller named
	cmd.Env = append(os.Environ(), "GOOS="+p.system, "GOARCH="+p.processor, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// create makes a file.
func create(name string, write func(io.Writer) error) error {
	f, err := os.Create(name) //nolint:gosec // in the directory that the caller named
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// writeSums writes SHA256SUMS as sha256sum does, over all other files of the directory.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.Name() == sums })
	return create(filepath.Join(dir, sums), func(w io.Writer) error {
		for _, e := range entries {
			sum, err := sumOf(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%x  %s\n", sum, e.Name()); err != nil {
				return err
			}
		}
		return nil
	})
}

// sums is the name of the file with the checksums.
const sums = "SHA256SUMS"

func sumOf(name string) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // the same
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}
