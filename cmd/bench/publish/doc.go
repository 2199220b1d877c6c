// Package publish is the writing side of the load generator: it publishes messages of one size, at a rate, or as fast as
// the slowest reader follows.
package publish
