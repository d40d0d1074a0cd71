package sim

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// idleness is the dice of all that has to do with idle VMs: they are apart from
// the script's, so that its seeds tell their stories as before.
func idleness(seed uint64, of string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte("idle " + of))
	return rand.New(rand.NewPCG(seed, h.Sum64())) //nolint:gosec // reproducible by seed
}

// idle has a guest work or rest, or memory run short, now and then.
func (s *stage) idle() {
	if s.seed%3 > 0 {
		return
	}
	switch s.lull.IntN(12) {
	case 0, 1:
		s.load()
	case 2:
		s.crave()
	}
}

// drawReclaim lets most VMs ask for nothing, so that they show at the end what
// became of them, and the others for some rungs of the ladder.
func drawReclaim(seed uint64, dice *rand.Rand) (r vm.Reclaim) {
	if seed%3 > 0 { // in the other seeds nothing is ever taken
		return r
	}
	after := pick(dice, time.Minute, 5*time.Minute, time.Hour)
	for _, do := range []vm.ReclaimDo{vm.ReclaimBalloon, vm.ReclaimPause, vm.ReclaimSuspend} {
		if dice.IntN(3) == 0 {
			r.Steps = append(r.Steps, vm.ReclaimStep{Do: do, After: after})
			after += time.Duration(dice.IntN(10)) * time.Minute
		}
	}
	return vm.Spec{Reclaim: r}.Filled().Reclaim
}

// load has a guest work or idle.
func (s *stage) load() {
	name := pick(s.lull, s.plan.names...)
	l := pick(s.lull, fake.Load{}, fake.Load{}, fake.Load{CPU: 0.7}, fake.Load{Packets: 100}, fake.Load{IO: 1 << 20})
	s.story.tell("%s works: %+v, %v", name, l, s.world.Load(name, l))
}

// crave takes nearly all of the machine's memory, or gives it back.
func (s *stage) crave() {
	u := pick(s.lull, vm.NodeUsage{}, vm.NodeUsage{Memory: 1 << 60})
	s.story.tell("the machine uses %d bytes of memory", u.Memory)
	s.world.Spend(u)
}

// reclaims is the caller of what the node does by itself.
const reclaims = "reclaim"

// checkReclaim: the node takes what the spec offers of a VM that runs, is well
// and is wanted up, and leaves alone what a person has halted.
func (j *judge) checkReclaim(before, after vm.Record, t persistence.Turn) {
	b, name := before.State, after.Spec.Name
	if t.Entry.By != reclaims {
		if after.State.Reclaimed && !b.Reclaimed {
			j.broken("checkReclaim", name, "%s by %q counts as the node's own", t.Entry.Kind, t.Entry.By)
		}
		return
	}
	do := map[string]vm.ReclaimDo{vm.PauseAsked.String(): vm.ReclaimPause, vm.SuspendAsked.String(): vm.ReclaimSuspend}[t.Entry.Kind]
	offers := slices.ContainsFunc(j.specs[after.ID].Reclaim.Steps, func(s vm.ReclaimStep) bool { return s.Do == do })
	switch {
	case !offers:
		j.broken("checkReclaim", name, "its spec doesn't offer what was done to it: %s", t.Entry.Kind)
	case b.Intent != vm.WantRunning:
		j.broken("checkReclaim", name, "%s of a VM that is wanted %s", t.Entry.Kind, b.Intent)
	case b.Phase == vm.Paused && (!b.Reclaimed || b.Stalled != ""):
		j.broken("checkReclaim", name, "%s of a VM that the node didn't pause", t.Entry.Kind)
	case b.Phase == vm.Running && b.Health != vm.Healthy && b.Health != vm.HealthUnknown:
		j.broken("checkReclaim", name, "%s of a VM that is %s", t.Entry.Kind, b.Health)
	case b.Phase&(vm.Running|vm.Paused) == 0:
		j.broken("checkReclaim", name, "%s in %s", t.Entry.Kind, b.Phase)
	}
}

// checkReclaimRest: once all has come to rest, a guest has less than all of its
// memory only where its spec offers that.
func (s *stage) checkReclaimRest(r vm.Record) {
	left := s.world.Left(r.Spec.Name)
	offers := slices.ContainsFunc(r.Spec.Reclaim.Steps, func(s vm.ReclaimStep) bool { return s.Do == vm.ReclaimBalloon })
	switch {
	case r.State.Phase != vm.Running || left == 0:
	case !offers && left < r.Spec.Memory && !r.State.Pending:
		s.judge.broken("checkReclaim", r.Spec.Name, "its balloon leaves %s, and its spec offers none", left)
	case offers && left < policies.Leaves(r.Spec, 0) && !r.State.Pending:
		s.judge.broken("checkReclaim", r.Spec.Name, "its balloon leaves %s, its spec keeps %d %%", left, r.Spec.Reclaim.Keep)
	}
}
