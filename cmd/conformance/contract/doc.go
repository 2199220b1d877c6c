// Package contract holds what is seen on the wire against the published specifications: every HTTP exchange against
// openapi.yaml, every frame of a stream and every WebSocket request against asyncapi.yaml.
//
// [Contract.Exchange] and [Contract.RoundTripper] look at requests and answers. A status, header, content type or member that
// openapi.yaml does not describe is a fault, and so is a request that the gateway took although openapi.yaml forbids it.
// (The other way round nothing is said: a request may be refused for reasons that no schema can express.)
//
// [Contract.Frame] and [Contract.Request] look at single frames and requests, [Stream] at the frames of one stream in their
// order, and [EventStream] at the lines of Server-Sent Events.
//
// Faults are sentences. All of it is safe for concurrent use, save [Stream] and [EventStream], which belong to one reader.
package contract
