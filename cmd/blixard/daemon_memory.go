package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// headRoom is how much garbage the heap may hold, whatever lives beside it. The
// runtime allows as much again as lives there: that doubles what each VM costs,
// and with few VMs it collects all the time.
const headRoom = 8 << 20

// boundGarbage follows each collection and says when the next one is due. A wish
// in the environment stands.
func boundGarbage() {
	if os.Getenv("GOGC") == "" {
		collected(0)
	}
}

// collected is told of the end of each collection by an object that nobody holds.
func collected(last int) {
	if p := percentOf(scanned()); p < last*9/10 || p > last*11/10 { // setting it stops the world for a moment
		debug.SetGCPercent(p)
		last = p
	}
	runtime.AddCleanup(new([64]byte), collected, last)
}

// scanned is what the runtime takes its percents of, in bytes: what lived on the
// heap at the last collection, stacks, and globals.
func scanned() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	var sum uint64
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}

// percentOf is the percentage of so many bytes that makes the head room. Where a
// great deal lives it is more, as each collection looks at all of that; where
// little does, less, as the first collection would come late.
func percentOf(lives uint64) int {
	return int(max(25, min(200, 100*headRoom/max(lives, 1))))
}
