package main

import (
	"os"
	"runtime/debug"
)

// headRoom is how much of what lives on the heap may be garbage beside it, in
// percent. A node's heap is what each VM keeps, so that the runtime's 100 would
// double that; and the daemon makes so little garbage that 100 VMs with three
// probes each cost no more CPU for it than before (docs/performance.md).
const headRoom = 12

// keepHeapSmall leaves a wish in the environment alone.
func keepHeapSmall() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(headRoom)
	}
}
