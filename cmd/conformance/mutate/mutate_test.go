package main

import (
	"os"
	"path/filepath"
	"testing"
)

// That the suite turns red for each of them is shown by running the command, which builds the gateway as often. Here is
// held that each can still be planted.
func TestFaultsCanBePlanted(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(faults) < 12 {
		t.Errorf("%d faults, at least 12 are promised", len(faults))
	}
	seen := map[string]bool{}
	for _, f := range faults {
		if seen[f.Name] || len(f.Breaks) == 0 || len(f.Edits) == 0 {
			t.Errorf("fault %q", f.Name)
		}
		seen[f.Name] = true
		texts := map[string]string{}
		for _, e := range f.Edits {
			if texts[e.File] == "" {
				raw, err := os.ReadFile(filepath.Join(root, e.File))
				if err != nil {
					t.Fatal(err)
				}
				texts[e.File] = string(raw)
			}
			if texts[e.File], err = e.apply(texts[e.File]); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
}
