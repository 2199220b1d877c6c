// Package peer has the servers and reference points that are no product to install: the server of r3labs/sse, a bare
// consumer with amqp091-go, and a bare loop that writes the same bytes to the same sockets. Each is a role, a process of its own.
package peer
