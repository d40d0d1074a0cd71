package sim

import (
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// heal mends everything, lets hours pass and holds the liveness promises: what
// is wanted up is up or failed aloud, and what is not owns nothing.
func (s *stage) heal() {
	s.story.tell("NODE heals")
	s.healed.Store(true)
	s.world.Stall(false)
	s.mend()
	if s.dead() {
		s.reboot(time.Second)
	}
	s.disk.toGo.Store(0)
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	s.checkP12book() // before a restart counts anew what a bug may have forgotten
	if s.node != nil && (s.parked() || s.script.IntN(2) == 0) {
		s.story.tell("NODE daemon restarted after healing")
		s.reboot(time.Second)
	}
	for i := range 18 {
		if i == 6 {
			s.smiteAll() // by now nothing may be too tired to meet it
		}
		if i == 12 && s.script.IntN(2) == 0 {
			s.powerCut()
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.checkP9late()
	}
	s.askers.Wait()
	s.checkP11()
	s.checkAtRest()
	s.checkP12book()
}

// smiteAll kills every VMM from outside.
func (s *stage) smiteAll() {
	s.story.tell("NODE SIGKILL for every VMM")
	for _, ref := range s.world.Refs() {
		s.world.Smite(ref.VM)
	}
}

// end switches the machine off, so that no goroutine of the bubble is left.
func (s *stage) end() {
	s.down()
	s.world.Break(fake.Faults{})
	s.world.PowerCut()
	time.Sleep(2 * time.Minute)
}

// checkP10boot: a restarted daemon shows at once what the last one knew.
func (s *stage) checkP10boot() {
	durable := s.judge.records()
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	for _, r := range s.node.List() {
		if was, ok := durable[r.ID]; ok && was.State.Revision == r.State.Revision {
			s.judge.checkP10kept(was, r, "status after the daemon's start")
			s.judge.checkP10counted(was, r, "status after the daemon's start")
		}
	}
}

// checkP11: reading status takes no time.
func (s *stage) checkP11() {
	if s.node == nil {
		return // no daemon: checkP13start has told of it
	}
	began := time.Now()
	list := s.node.List
	if s.plant.Look != nil {
		list = func() []vm.Record { return s.plant.Look(s) }
	}
	for _, r := range list() {
		s.node.Get(r.Spec.Name)
	}
	s.node.Status()
	s.node.Tree()
	if took := time.Since(began); took > 0 {
		s.judge.mu.Lock()
		defer s.judge.mu.Unlock()
		s.judge.broken("checkP11", "", "status took %s", took)
	}
}

// checkP9late: once all is mended, no deadline passes without its effect.
func (s *stage) checkP9late() {
	records, parked, standing := s.judge.records(), s.parkedNames(), s.world.Standing()
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	for _, r := range records {
		st := r.State
		if st.Phase == vm.Running && standing[r.ID] && !s.world.Lost(r.ID, st.Incarnation) {
			s.judge.broken("checkP17", r.Spec.Name, "it is running, and its guest stands still")
		}
		if st.Stalled != "" && !parked[r.Spec.Name] {
			s.judge.broken("checkP4", r.Spec.Name, "stands still for want of room, and minutes ago there was room again")
		}
		if late := time.Since(st.Deadline); !st.Deadline.IsZero() && late > time.Second && !parked[r.Spec.Name] {
			s.judge.broken("checkP9", r.Spec.Name, "%s, and its deadline passed %s ago", st.Phase, late)
		}
	}
}

func (s *stage) parkedNames() map[vm.Name]bool { return parkedIn(s.node) }

// parkedIn are the VMs whose actors a node has given up for bugs of ours.
func parkedIn(node *actors.Node) map[vm.Name]bool {
	out := map[vm.Name]bool{}
	if node == nil {
		return out
	}
	for _, b := range node.Status().Broken {
		if rest, ok := strings.CutPrefix(b, "vm/"); ok {
			name, _, _ := strings.Cut(rest, ":")
			out[vm.Name(name)] = true
		}
	}
	return out
}

// checkAtRest holds the liveness promises of every VM once hours have passed.
func (s *stage) checkAtRest() {
	if s.node == nil {
		return
	}
	records, parked := s.judge.records(), s.parkedNames()
	live := map[vm.ID][]vm.Incarnation{}
	for _, ref := range s.world.Refs() {
		live[ref.VM] = append(live[ref.VM], ref.Incarnation)
	}
	views := s.node.List()
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	for _, r := range records {
		switch {
		case parked[r.Spec.Name]:
			s.judge.broken("checkP4", r.Spec.Name, "parked although nothing is broken any more")
		case r.State.Intent == vm.WantRunning:
			s.judge.checkP4(r, live[r.ID])
		default:
			s.judge.checkP5rest(r, live[r.ID])
		}
		if i := slices.IndexFunc(views, func(v vm.Record) bool { return v.ID == r.ID }); i < 0 || views[i].State.Revision != r.State.Revision {
			s.judge.broken("checkP11", r.Spec.Name, "status doesn't show what is durable")
		}
		s.checkP17rest(r)
		s.checkReclaimRest(r)
		if r.State.Phase&vm.AtRest != 0 && s.world.Held(r.Spec.Name) {
			s.judge.broken("checkP7", r.Spec.Name, "%s, and its run folder is still there", r.State.Phase)
		}
	}
	s.judge.checkP13canary()
}

// checkP4: wanted up → up, or failed aloud.
func (j *judge) checkP4(r vm.Record, live []vm.Incarnation) {
	s, name := r.State, r.Spec.Name
	known := s.Phase == vm.Backoff && s.Deadline.After(time.Now())
	if known && !s.Queued && s.LastExit.Failure.Cause == vm.CauseStartTransient {
		return // a guest of this seed that never can be prepared; it goes on trying
	}
	switch s.Phase {
	case vm.Running, vm.Paused:
		if !slices.Equal(live, []vm.Incarnation{s.Incarnation}) {
			j.broken("checkP4", name, "%s in incarnation %d, alive are %v", s.Phase, s.Incarnation, live)
		}
	case vm.Failed:
		if s.Reason == "" || s.LastExit == nil {
			j.broken("checkP4", name, "failed, and nobody says why")
		}
	default:
		j.broken("checkP4", name, "wanted up, and hours after all was mended it is %s since %s: %s", s.Phase, s.PhaseSince, s.Reason)
	}
	if s.Phase == vm.Failed && len(live) > 0 {
		j.broken("checkP7", name, "failed, and %v live", live)
	}
}

// checkP5rest: asked down or away → down or away, and nothing is held (P7).
func (j *judge) checkP5rest(r vm.Record, live []vm.Incarnation) {
	s, name := r.State, r.Spec.Name
	switch {
	case s.Intent == vm.WantRemoved:
		j.broken("checkP9", name, "asked away, and hours later it is %s", s.Phase)
	case s.Reason == "":
		j.broken("checkP4", name, "down, and nobody says why")
	case s.Intent == vm.WantSuspended && s.Phase != vm.Suspended:
		j.broken("checkP9", name, "asked to be suspended, and hours later it is %s: %s", s.Phase, s.Reason)
	case s.Intent == vm.WantStopped && s.Phase != vm.Stopped:
		j.broken("checkP5", name, "asked down, and hours later it is %s: %s", s.Phase, s.Reason)
	case len(live) > 0:
		j.broken("checkP7", name, "stopped, and %v live", live)
	}
}

// checkP13canary: whatever befell the others, the VM that nobody touched is up.
func (j *judge) checkP13canary() {
	for _, r := range j.durable {
		if r.Spec.Name == canary && r.State.Phase != vm.Running {
			j.broken("checkP13", canary, "it is %s: %s", r.State.Phase, r.State.Reason)
		}
	}
}

// checkP13start: the daemon starts whatever single records look like.
func (j *judge) checkP13start(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken("checkP13", "", "the daemon doesn't start: %v", err)
}

// checkRoot: nothing that a host or a guest does reaches the root.
func (j *judge) checkRoot(why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken("checkRoot", "", "the daemon ended itself: %s", why)
}

// checkStop: the tree ends when it is asked to.
func (j *judge) checkStop(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken("checkStop", "", "the tree doesn't end: %v", err)
}

func (j *judge) hasDamage() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.damaged) > 0
}
