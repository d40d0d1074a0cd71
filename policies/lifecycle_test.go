package policies

import (
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/blixard/blixard/vm"
)

var update = flag.Bool("update-page", false, "write docs/lifecycle.md")

const waiting = vm.AllPhases &^ (vm.Stopped | vm.Failed | vm.Suspended | vm.Running | vm.Paused)

func TestEveryPhaseAnswersEveryEventOnce(t *testing.T) {
	for _, p := range vm.AllPhases.Each() {
		for _, e := range vm.Events() {
			if _, ok := cells[cell{p, e}]; !ok {
				t.Errorf("no row for %s × %s", p, e)
			}
		}
	}
}

func TestEveryWaitingPhaseHasADeadlineThatActs(t *testing.T) { // P9
	for _, p := range vm.AllPhases.Each() {
		a := cells[cell{p, vm.DeadlinePassed}]
		if acts := len(a.effects) > 0; acts != (waiting&p != 0) {
			t.Errorf("%s: its deadline has effects %v", p, a.effects)
		}
	}
}

func TestOnlyAsksAreRefused(t *testing.T) {
	for c, a := range cells {
		if a.verb == verbRefuse && !c.event.Asked() {
			t.Errorf("%s × %s refuses a fact", c.phase, c.event)
		}
		if a.verb == verbIgnore && c.event.Asked() {
			t.Errorf("%s × %s ignores a person", c.phase, c.event)
		}
		if a.verb == verbRefuse && a.refusal.Try == "" {
			t.Errorf("%s × %s refuses without a remedy", c.phase, c.event)
		}
	}
}

// P1: an incarnation that may have been launched is never brought up again.
func TestNoIncarnationIsBroughtUpTwice(t *testing.T) {
	for c, a := range cells {
		if slices.Contains(a.effects, vm.Prepare) && (a.verb != verbMove || a.to != vm.Preparing) {
			t.Errorf("%s × %s brings up what is there", c.phase, c.event)
		}
	}
}

// P6: a guest ends by intent or by a recorded decision, never because we woke up.
func TestWakingUpKillsNothingThatWasWantedUp(t *testing.T) {
	for _, p := range (up | vm.Adopting).Each() {
		a := cells[cell{p, vm.Woke}]
		if slices.Contains(a.effects, vm.Kill) || slices.Contains(a.effects, vm.PowerDown) {
			t.Errorf("%s × Woke ends the guest: %s", p, a)
		}
	}
}

func TestTheLifecyclePageIsUpToDate(t *testing.T) {
	const page = "../docs/lifecycle.md"
	if *update {
		if err := os.WriteFile(page, []byte(LifecyclePage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != LifecyclePage() {
		t.Fatalf("%s drifted from the table (%v): run make gen and read the difference", page, err)
	}
}
