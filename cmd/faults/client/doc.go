// Package client has the clients whose records the oracle judges. Each reconnects by itself and goes on where it was, as the
// contract tells clients to do, and none knows more of the gateway than what is on the wire.
package client
