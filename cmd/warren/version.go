package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// build says what is running.
type build struct{ version, commit, date string }

// thisBuild returns what the linker was told, or else what Go itself notes: `go
// install` knows the module's version, a build in a work tree the commit.
var thisBuild = sync.OnceValue(func() build {
	b := build{version: version, commit: commit, date: date}
	info, ok := debug.ReadBuildInfo()
	if !ok || b.commit != "" {
		return b
	}
	if v := info.Main.Version; b.version == "development" && v != "" && v != "(devel)" {
		b.version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = s.Value
		case "vcs.time":
			b.date = s.Value
		}
	}
	return b
})

func printVersion(_ context.Context, p process) error {
	b := thisBuild()
	fmt.Fprintf(p.stdout, "warren %s (commit %s, built %s)\n", b.version, cmp.Or(b.commit, "unknown"), cmp.Or(b.date, "unknown"))
	return nil
}
