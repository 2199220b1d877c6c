// Package admission holds every bound of the gateway that counts callers: rates
// of requests and creations, owned subscriptions and open streams, per caller
// and for the process. REST, WebSocket requests and streams all ask one Gate,
// so that no way in has bounds of its own.
//
// Guarantees:
//
//   - What was counted is given back exactly once, by Slot.Release, however
//     often that is called. After any storm the counts are zero again.
//   - A refusal changes nothing: what was taken on the way to it is given back.
//   - Every refusal by a rate carries the time after which the same request
//     would have been let through, computed from the bucket.
//   - Memory is bounded whatever callers do. A caller who holds nothing and whose
//     buckets are full again is forgotten, which changes no later answer. Beyond
//     MaxCallers, newcomers share one entry: they get less, nobody gets more.
package admission
