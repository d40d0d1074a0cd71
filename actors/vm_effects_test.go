package actors_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// What holds a deletion up is told to who asked for it, not to the log alone.
func TestWhatHoldsADeletionUpIsInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", nil)
		s.after(10 * time.Second)
		s.world.Break(fake.Faults{Discard: 1})
		s.askAll("web", []vm.Event{vm.ForceDeleteAsked})
		s.after(5 * time.Second)
		told := s.told("EffectFailed")
		if len(told) != 1 || told[0].Name != "web" || !strings.Contains(told[0].Why, "drawn to fail; it is tried again") {
			t.Errorf("the journal tells of what failed: %v", told)
		}
		s.world.Break(fake.Faults{})
		s.after(time.Minute)
		if _, still := s.node.Get("web"); still {
			t.Error("a minute after all was mended, the VM is still there")
		}
	})
}
