//go:build unix

package api

import "syscall"

// openFiles is how many files this process may have open, connections among
// them; 0 if that is not known. Go has raised the soft limit to the hard one.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<31-1))
}
