package contract

import (
	"net/http"
)

// Test is the part of testing.TB that Watch needs.
type Test interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Watch returns a round tripper for a test: whatever passes through next and is not as the specifications say fails it.
// No request may be under way when the test has ended.
func Watch(t Test, next http.RoundTripper) http.RoundTripper {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c.RoundTripper(next, func(fault string) { t.Errorf("against the contract: %s", fault) })
}
