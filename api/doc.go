// Package api is the gateway's HTTP side: who asks, whether they may, and what
// they are told.
//
// The way of a request: client address, Host, Origin, route, identity, rate of
// requests, then the handler: media type, size, content, existence, owner,
// grants, counts and creation rates, and the broker at last. The first that
// refuses answers; what costs least comes first, and nothing of the core is
// touched before the caller is known and counted.
//
// Handlers return errors. Status, body, headers and log line of an error are
// decided in one place (refuse in refuse.go, the table in problem.go), which also
// knows the two ways in which a stream is refused: an EventSource that is to
// come back gets 200 and a bye, a WebSocket a handshake, a bye and a close.
//
// What a WebSocket may ask for (bind, unbind, auth) runs through the same
// functions as REST: transport is handed a session with identity and bounds
// already inside.
package api
