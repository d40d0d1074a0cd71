package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGarbageIsBoundedInBytesAndNotByWhatLives(t *testing.T) {
	for lives, want := range map[uint64]int{0: 200, 1 << 20: 200, 8 << 20: 100, 16 << 20: 50, 80 << 20: 25, math.MaxUint64: 25} {
		if got := percentOf(lives); got != want {
			t.Errorf("beside %d bytes that live, %d %% may be garbage, want %d", lives, got, want)
		}
	}
}

// The head room is set anew by the collections themselves.
func TestTheHeadRoomFollowsWhatLives(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	boundGarbage()
	alive := make([]byte, 200<<20)
	for deadline := time.Now().Add(time.Minute); ; {
		runtime.GC()
		p := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		if metrics.Read(p); p[0].Value.Uint64() == 25 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with 200 MiB alive, %d %% may be garbage", p[0].Value.Uint64())
		}
		runtime.Gosched()
	}
	runtime.KeepAlive(alive)
}
