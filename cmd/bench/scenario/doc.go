// Package scenario measures: each file is one scenario, which starts servers, puts them under load from processes of their
// own and records what came of it.
package scenario
