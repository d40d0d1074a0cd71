package policies_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestAQuickCheckDrivesOutNoOther(t *testing.T) {
	var kept policies.Rounds
	for i := range 1000 {
		at := begin.Add(time.Duration(i) * time.Second)
		kept.Keep(vm.Round{Check: "quick", At: at}, 2)
		if i%100 == 0 {
			kept.Keep(vm.Round{Check: "slow", At: at.Add(-30 * time.Second)}, 2) // it took its time
		}
	}
	of := map[string]int{}
	for _, r := range kept.All() {
		of[r.Check]++
	}
	if of["slow"] != 10 || of["quick"] != 32 {
		t.Errorf("kept are %v", of)
	}
}

func TestRoundsAreBoundedAndSortedAndTheNewestStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept policies.Rounds
		for i := range rapid.IntRange(0, 300).Draw(t, "rounds") {
			one := vm.Round{
				Check: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "check"),
				At:    begin.Add(time.Duration(i-rapid.IntRange(0, 5).Draw(t, "took")) * time.Second),
				Took:  time.Duration(i) * time.Millisecond, OK: rapid.Bool().Draw(t, "ok"), Detail: rapid.SampledFrom([]string{"", "it said something"}).Draw(t, "detail"),
			}
			kept.Keep(one, rapid.IntRange(0, 100).Draw(t, "checks")) // a new spec has others
			all := kept.All()
			if len(all) > 64 || !slices.IsSortedFunc(all, func(a, b vm.Round) int { return a.At.Compare(b.At) }) {
				t.Fatalf("%d are kept: %v", len(all), all)
			}
			if !slices.Contains(all, one) {
				t.Fatalf("%v is not kept", one)
			}
		}
	})
}
