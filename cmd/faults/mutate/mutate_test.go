package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"go.uber.org/goleak"

	"github.com/warren-gateway/warren/cmd/faults/matrix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMutationsStillApply keeps the list up with the source.
func TestMutationsStillApply(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(mutations) < 8 {
		t.Errorf("%d mutations", len(mutations))
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, m.file))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.apply(string(text)); err != nil {
				t.Error(err)
			}
			if len(matrix.Select(matrix.Cells(), regexp.MustCompile(m.cell), false)) == 0 {
				t.Errorf("no cell is called %s", m.cell)
			}
		})
	}
}
