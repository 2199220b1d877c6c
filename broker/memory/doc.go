// Package memory is a message broker inside the process: what `--broker
// memory://` runs on, what demos and fast tests use.
//
// It has topic, direct, fanout and headers exchanges that route as RabbitMQ's
// do, and implements broker.Source. What it guarantees:
//
//   - A message that was published after Open or Bind returned, and that matches
//     a binding, is delivered once, in the order in which one publisher
//     published; between publishers the order may differ from queue to queue.
//   - Publish never waits for a reader. A queue holds what its reader has not
//     acknowledged yet up to Options.Prefetch deliveries, and behind that up to
//     Options.QueueMaxLength messages and Options.QueueMaxBytes bytes; beyond these the
//     oldest are dropped and counted in an Overflow, exactly and at their place.
//   - Deleting an exchange is announced as BindingsLost right after the last
//     message that it routed, declaring it again as BindingsBack right before the
//     first one.
//   - Messages are handed over, not copied: nobody changes a body or a table
//     after it was published or delivered.
//
// Nothing is stored: with the process everything is gone. A queue has a goroutine
// only while it hands something to its sink, and Close waits for that.
package memory
