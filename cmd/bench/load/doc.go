// Package load is the reading side of the load generator: thousands of streams on raw sockets, read by one epoll loop that
// parses as little as it can. It only looks for the marker that each published message carries, and for the time behind
// that, so Server-Sent Events, WebSocket, STOMP and MQTT cost it the same.
package load
