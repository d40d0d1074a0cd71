package main

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// Of many who ask at once, one repairs and the rest are told; none sweeps away
// what another is writing.
func TestRepairsAtOnceAreOneRepair(t *testing.T) {
	d := &daemon{log: zap.NewNop(), id: "0123456789abcdef0123456789abcdef", trouble: &persistence.Unusable{Kind: persistence.Missing, Refusal: &vm.Refusal{Why: "it is gone"}}}
	d.state = t.TempDir()
	var lives, repaired atomic.Int32
	d.anew = func() { lives.Add(1) }
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := d.repair(t.Context(), nil, messages.Caller{}); err == nil {
				repaired.Add(1)
			}
		})
	}
	all.Wait()
	if repaired.Load() != 1 || lives.Load() != 1 {
		t.Errorf("%d repairs were done and %d lives begun, want one of each", repaired.Load(), lives.Load())
	}
	if id, err := readNodeID(d.state); err != nil || id != d.id {
		t.Errorf("the next life is of node %q (%v): it would not know the VMMs of %s", id, err, d.id)
	}
	store, err := persistence.Open(filepath.Join(d.state, "store"), d.storeOptions())
	if err != nil {
		t.Fatalf("the store that the repair left: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}
