package proc

import (
	"context"
	"fmt"
	"os/exec"
)

// cores are the first and the last of those that programs may run on.
type cores struct{ first, last int }

type coresKey struct{}

// OnCores returns a context in which Command starts programs that run on the cores from first to last only.
func OnCores(ctx context.Context, first, last int) context.Context {
	return context.WithValue(ctx, coresKey{}, cores{first, last})
}

// Cores answers how many cores programs may run on that Command starts, of so many there are.
func Cores(ctx context.Context, all int) int {
	if c, limited := ctx.Value(coresKey{}).(cores); limited {
		return c.last - c.first + 1
	}
	return all
}

// Command is exec.CommandContext for a program that outlives ctx and keeps to the cores that OnCores named.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	outlives := context.WithoutCancel(ctx)
	if c, limited := ctx.Value(coresKey{}).(cores); limited {
		// taskset is of util-linux, which every Debian has, and becomes the program.
		return exec.CommandContext(outlives, "taskset", append([]string{"-c", fmt.Sprintf("%d-%d", c.first, c.last), name}, args...)...)
	}
	return exec.CommandContext(outlives, name, args...)
}
