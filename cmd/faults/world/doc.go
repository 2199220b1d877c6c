// Package world holds the real things that faults are done to: the gateway's process, the broker's administration, publishers
// and the network in between. All of it can be used from several goroutines, and ends when it is told to.
package world
