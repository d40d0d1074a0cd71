package actors_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// doubtful writes the turn in which a guest is saved and says that it did not;
// after that it writes nothing, as a store does that had an error.
type doubtful struct {
	persistence.Store
	failed bool
}

func (d *doubtful) Commit(t persistence.Turn) (uint64, error) {
	if d.failed {
		return 0, errors.New("no space left on device")
	}
	n, err := d.Store.Commit(t)
	if t.Entry != nil && t.Entry.Kind == vm.GuestSaved.String() {
		d.failed = true
		return 0, errors.New("no space left on device")
	}
	return n, err
}

// A guest whose saving is durable, though the store said that it isn't, is not
// saved again: it would run for that, and the next daemon would load what its
// disks are ahead of.
func TestAGuestWhoseSavingIsInDoubtIsNotSavedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		s.keep = func(st persistence.Store) persistence.Store { return &doubtful{Store: st} }
		s.kill()
		s.create("web", nil)
		s.after(5 * time.Second)
		s.want("web", vm.Running, 1)
		if err := s.ask("web", vm.SuspendAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute) // its actor tries again and again

		s.keep = nil
		s.kill()
		s.after(time.Minute)
		s.want("web", vm.Suspended, 1)
		if err := s.ask("web", vm.ResumeAsked); err != nil {
			t.Fatal(err)
		}
		s.after(10 * time.Second)
		s.want("web", vm.Running, 2)
		if st := s.state("web"); st.Crashes != 0 || st.Saved != nil {
			t.Errorf("%d crashes, saved %v: %s", st.Crashes, st.Saved, st.Reason)
		}
		s.end()
	})
}

// A saved guest that is given up while the files beside it are still being
// looked at goes too: its memory may hold secrets.
func TestASavedGuestGivenUpAtOnceLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		s.create("web", nil)
		s.after(5 * time.Second)
		s.world.Break(fake.Faults{Slow: 1, MaxSlow: time.Second})
		if err := s.ask("web", vm.SuspendAsked); err != nil {
			t.Fatal(err)
		}
		for range 60_000 { // a minute, by the millisecond: the first look must still be under way
			if s.state("web").Phase == vm.Suspended {
				break
			}
			time.Sleep(time.Millisecond)
		}
		s.want("web", vm.Suspended, 1)
		if err := s.ask("web", vm.KillAsked); err != nil {
			t.Fatal(err)
		}
		s.after(10 * time.Second) // the reconciler's look comes later
		if left := s.world.Images(s.id("web")); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		s.end()
	})
}
