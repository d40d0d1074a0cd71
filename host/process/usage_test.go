package process

import (
	"fmt"
	"testing"

	"github.com/blixard/blixard/vm"
)

// TestTheEndTellsWhatAVMMUsed: its processor time always, its most memory where
// that is more than ours, which the kernel counts into every child's.
func TestTheEndTellsWhatAVMMUsed(t *testing.T) {
	w := newWorld(t)
	floor, err := ownPeak()
	if err != nil {
		t.Fatal(err)
	}
	much := 2 * max(floor, 64*vm.MiB)
	e := w.Exit(w.Launch(w.Sh(1, 1, fmt.Sprintf("exec dd if=/dev/zero of=/dev/null bs=%d count=1", much))))
	if !e.Known || e.Code != 0 || e.CPU <= 0 || e.MemoryPeak < much || e.MemoryPeak > 2*much {
		t.Errorf("one that used %v: %+v", much, e)
	}
	e = w.Exit(w.Launch(w.Sh(2, 1, "exit 0")))
	most := vm.Bytes(0)
	if w.l.Holding().Memory == "" {
		most = 8 * vm.MiB // its cgroup counts it alone
	}
	if !e.Known || e.CPU <= 0 || e.MemoryPeak > most {
		t.Errorf("a shell's peak is below ours, %v, and was told as its own: %+v", floor, e)
	}
}
