// Package target starts the servers under test, the gateway, its peers and the reference points, each on free ports of
// loopback, and says how to read from them, how to publish to them, and which processes to measure.
package target
