// Package role runs parts of the benchmark in processes of their own, so that their CPU is not counted as that of the server
// under test. The command re-executes itself as a role; driver and role speak JSON, one object per line, over the
// role's standard input and output. A role ends when its input does, so none outlives the driver.
package role
