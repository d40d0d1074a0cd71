package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheReferenceIsUpToDate(t *testing.T) {
	pages := reference(rootCommand(&cli{terminal: newTerminal()}))
	const dir = "../../docs/cli"
	for name, page := range pages {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(have) != page {
			t.Errorf("%s drifted from the commands (%v): run make gen and read the difference", name, err)
		}
	}
	there, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil || len(there) != len(pages) {
		t.Errorf("%d pages in %s, the commands make %d: remove what no command makes", len(there), dir, len(pages))
	}
}
