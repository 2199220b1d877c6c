// Package identity says who a caller is and what the caller may listen to.
//
// What it guarantees:
//
//   - A token is either verified completely or refused with an [*Error]; nothing in between, and never an anonymous identity
//     in its place. Verified means: signed by a configured key with the one method of that key's type (RS256, ES256, EdDSA,
//     or HS256 where that was asked for), not expired, not from the future by more than the leeway, with a subject, and of
//     the audience and the issuer that are configured. Nothing in a token's header chooses a key other than by name among
//     the configured ones: "jku", "x5u", "jwk" and "x5c" are ignored, "crit" is refused.
//   - A token is good up to its "exp" and no longer, without leeway, so that the moment at which requests are refused is the one
//     at which open streams end. The leeway is for "nbf" and "iat", where a clock that is a little behind would refuse fresh tokens.
//   - What a token grants holds by exact containment of the requested pattern in one granted pattern ([broker.Pattern.Contains]),
//     and grants of less than "#" only for exchanges that are known to be topic exchanges: others ignore the routing key.
//   - Keys from a URL are fetched at start and at an interval, and once more when a token names an unknown one, at most once
//     in 10 s with a burst of 2, however many tokens do. Where a key could not be looked for, the refusal is marked as one that can
//     pass ([Error.Temporary]), so that a page that comes right after a rotation is not sent away for good.
//   - No token, nor any part of one, is in an error, in a log line or in what fmt prints of a [Token].
package identity
