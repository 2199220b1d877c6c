// Package brokertest holds what tests of message sources and of their users
// share.
//
// TestSource is the contract of broker.Source as a test: every source calls it
// from a test of its own and passes the same cases.
//
// Fake is a scripted broker.Source: it records what it is asked, answers as it
// was told to, and delivers what the test hands it. It routes nothing and starts
// no goroutine, and nothing in it exists before NewFake, so that it may live in
// a bubble of testing/synctest.
package brokertest
