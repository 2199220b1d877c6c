// Package rabbittest runs real RabbitMQ servers for tests: private nodes that share nothing with a server that may
// already run on the machine.
//
// A node has its own name, ports, epmd, cookie, home, configuration, data and log, all of it in one temporary directory,
// and listens on 127.0.0.1 alone. It works for root and for ordinary users, because it calls the server's own scripts and
// not the wrapper by which Debian switches to the user rabbitmq. It is up in about five seconds.
//
// # Which node a test gets
//
// [VHost], [URL], [Ctl] and [Eval] use the shared node: the one that WARREN_TEST_AMQP_URL names, else a node that the
// test binary starts when it first needs one. Tests share it, so they may use it but never stop, pause or load it with
// alarms; each takes a virtual host of its own from [VHost].
//
// [Private] answers a node that belongs to this test binary alone, for tests that kill, pause or starve it. Such tests
// must not run in parallel with each other. [Start] makes further nodes, for one test or a benchmark.
//
// The command rabbitnode in cmd/rabbitnode starts one node around a whole test run, so that the packages do not
// each pay for a boot:
//
//	go run ./broker/rabbitmq/rabbittest/cmd/rabbitnode -- go test ./...
//
// # When there is no server
//
// A test that needs a server fails, it never skips: what was not tested must not look tested. The message says how to
// install one.
//
// # What is left behind
//
// Nothing. [Main] ends the nodes of a test binary. Should the binary die before that (a panic, a time-out of go test,
// SIGKILL), then a small watchdog process sees its standard input close, kills the node and removes its directory.
//
// The package needs a Unix system. The server must be of version 3.10 or later.
package rabbittest
