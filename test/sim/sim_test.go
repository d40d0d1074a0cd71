package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
)

// number reads an environment variable; empty is unset.
func number(t *testing.T, name string) (uint64, bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// mostTold is how many breaches of one seed are printed: the first ones matter.
const mostTold = 5

const defaultSeeds = 200 // with the planted bugs about half a minute on 2 cores

// TestSeeds plays seeds: BLIXARD_SEED replays one and tells its whole story,
// BLIXARD_SEEDS says how many.
func TestSeeds(t *testing.T) {
	if seed, ok := number(t, "BLIXARD_SEED"); ok {
		play(t, seed, 100_000)
		return
	}
	seeds, ok := number(t, "BLIXARD_SEEDS")
	if !ok {
		seeds = defaultSeeds
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed-%d", seed+1), func(t *testing.T) {
			t.Parallel()
			play(t, seed+1, 150)
		})
	}
}

func play(t *testing.T, seed uint64, most int) {
	t.Helper()
	var told *story
	synctest.Test(t, func(t *testing.T) {
		found, s := run(seed, Plant{}, zap.NewNop())
		told = s
		for i, v := range found {
			if i == 0 {
				t.Logf("the story of %q until the first breach, newest last:\n%s", v.VM, s.about(string(v.VM), most))
			}
			if i == mostTold {
				t.Errorf("seed %d: and %d breaches more", seed, len(found)-i)
				break
			}
			t.Errorf("seed %d: %s broken: %s: %s (replay: make sim SEED=%d)", seed, v.Checker, v.VM, v.Why, seed)
		}
	})
	if os.Getenv("BLIXARD_SEED") != "" && !t.Failed() {
		t.Logf("the story:\n%s", told.about("", most))
	}
}
