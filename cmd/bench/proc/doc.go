// Package proc reads from /proc what processes have used: CPU time and resident memory of exactly the processes named,
// without those of their clients. It needs Linux.
package proc
