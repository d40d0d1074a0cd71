package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// stall keeps all VMMs of the host from a processor for a while, in some seeds.
func (s *stage) stall() {
	if s.seed%3 != 1 || s.doubts.IntN(10) > 0 {
		return
	}
	s.world.Stall(true)
	world := s.world
	time.AfterFunc(time.Duration(10+s.doubts.IntN(170))*time.Second, func() { world.Stall(false) })
}

// well says whether the guest of an incarnation does nothing of its own accord
// for which its agent would be silent.
func (s *stage) well(ref vm.Ref) bool {
	if s.world.Lost(ref.VM, ref.Incarnation) {
		return false // what it was told last, to halt or to run on, may not have reached it
	}
	g := s.guest(ref)
	return g == fake.Guest{Boot: g.Boot, Deaf: g.Deaf, PrepareFails: g.PrepareFails} && g.Boot >= 0
}

// checkP16turn: no guest that is well is ended for its agent's silence. Whatever
// else may go wrong with the machine, that comes of a stall alone.
func (j *judge) checkP16turn(after vm.Record, t persistence.Turn) {
	if t.Crash == nil || t.Crash.Failure.Cause != vm.CauseHealthFailed || !strings.HasPrefix(t.Crash.Failure.Evidence, string(vm.CheckAgent)+": ") {
		return
	}
	ref := after.Ref()
	ref.Incarnation = t.Crash.Failure.Incarnation
	if t.Crash.Failure.Ready && j.well(ref) {
		j.broken("checkP16", after.Spec.Name, "incarnation %d is well, and ended by %s", ref.Incarnation, t.Crash.Failure.Evidence)
	}
}

// checkP10counted: what the checks have counted is as it was.
func (j *judge) checkP10counted(before, after vm.Record, by string) {
	same := slices.EqualFunc(before.State.Probes, after.State.Probes, func(b, a vm.Probed) bool {
		return b.Check == a.Check && b.Health == a.Health && b.Streak == a.Streak && b.Since.Equal(a.Since)
	})
	if !same {
		j.broken("checkP10", after.Spec.Name, "%s: of what its checks have counted, %+v became %+v", by, before.State.Probes, after.State.Probes)
	}
}

// checkP10probes: what the checks of an incarnation have counted only goes on.
// A verdict that a daemon had no time to follow takes one more failure.
func (j *judge) checkP10probes(before, after vm.Record, kind string) {
	if kind != vm.HealthChanged.String() || before.State.Incarnation != after.State.Incarnation {
		return
	}
	now := map[string]vm.Probed{}
	for _, p := range after.State.Probes {
		now[p.Check] = p
	}
	for _, b := range before.State.Probes {
		a, ok := now[b.Check]
		forgot := !ok || a.Health < vm.Healthy && b.Health >= vm.Healthy || b.Health != vm.Unhealthy && a.Streak < 0 && a.Streak > b.Streak
		if forgot {
			j.broken("checkP10", after.Spec.Name, "its check %s was %s with %d in a row, and is %s with %d", b.Check, b.Health, b.Streak, a.Health, a.Streak)
		}
	}
}
