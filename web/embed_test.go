package web

import (
	"bytes"
	"compress/gzip"
	"testing"
)

// TestClientIsSmallEnoughToBeServedAsItIs measures what browsers get, with the gateway's own compression.
func TestClientIsSmallEnoughToBeServedAsItIs(t *testing.T) {
	const most = 10 << 10
	var out bytes.Buffer
	to, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = to.Write(Client())
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if out.Len() > most {
		t.Errorf("%d bytes of %d", out.Len(), most)
	}
}

// TestClientIsServedWithAllThatIsCode would find a literal of several lines of which one looks like a comment.
func TestClientIsServedWithAllThatIsCode(t *testing.T) {
	inLiteral := false
	for line := range bytes.Lines(client) {
		code := bytes.TrimSpace(line)
		if inLiteral && (len(code) == 0 || bytes.HasPrefix(code, []byte("//"))) {
			t.Errorf("%q is in a literal", line)
		}
		if bytes.Count(line, []byte("`"))%2 == 1 {
			inLiteral = !inLiteral
		}
	}
}
