// Package oracle decides whether what clients of the gateway got can be reconciled with what was published.
//
// Publishers number the messages of a source (one exchange and routing key) from 1, say when each was begun and which the
// broker confirmed. Clients keep a [Record]: the frames in their order, with ids and times. [Truth.Check] holds the records
// against what was published and accepts only this:
//
//   - Messages of a source come in the order of their numbers, each once, and none that was not published.
//   - Ids go on by one within a stream; after a reconnection they go on behind the position that was given. No id ever
//     stands for two things, neither for one reader nor for two.
//   - What is missing is missing where a gap stands. The counts of the gaps add up to what is missing, to the message. A
//     queue_overflow stands for what is missing anywhere in its range. A gap without a count covers one contiguous run
//     of each source, between the last message before it and the first after it.
//   - A gap covers only what was begun before it was received: what is published later must arrive.
//   - When a binding is announced as missing, and later as bound, one more run may be missing, of what was begun by then. It need
//     not be between the two, because what the queue held before comes after them: AMQP lets nobody place it.
//   - Everything published after the first ready arrives, up to the last.
//
// A message that was not confirmed may arrive or not: both are fine, and a count may include it or not.
//
// The record compresses runs of messages, so that millions of deliveries cost little memory.
package oracle
