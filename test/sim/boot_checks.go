package sim

import (
	"slices"
	"time"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// boots is what the judge knows of the node's boots, of who waits for a turn,
// and of who was called up.
type boots struct {
	began    time.Time // the life of the daemon that runs, or ran last
	most     int       // who may be on their way up at once by the bootstrap
	slow     time.Duration
	calls    map[vm.ID]call
	coming   map[vm.ID]bool      // called up, and on the way since
	needless map[vm.ID]time.Time // when a VM was last up, or not coming: nobody had to wait for it
	parked   func() map[vm.Name]bool
}

type call struct {
	boot vm.BootID
	at   time.Time
}

// late is how far a turn may be written after it was decided: a disk may hang.
const late = 40 * time.Second

// lifeBegins tells of the next daemon; anew: on a machine that was just switched on.
func (j *judge) lifeBegins(anew bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.boots.began = time.Now()
	if anew {
		clear(j.boots.coming)
	}
	clear(j.boots.needless)
}

// checkBootTurn follows who waits for a turn after a boot and who is called up.
func (j *judge) checkBootTurn(before, after vm.Record, t persistence.Turn) {
	kind, b, a, name := t.Entry.Kind, before.State, after.State, after.Spec.Name
	if b.Queued && !a.Queued && b.Phase == vm.Backoff {
		j.checkLeft(before, t)
	}
	if kind == vm.NodeEnding.String() {
		delete(j.boots.calls, after.ID) // whom a shutdown stopped may be called up again in the same boot
	}
	if kind == vm.CalledUp.String() {
		if c, again := j.boots.calls[after.ID]; again && c.boot == a.BootID {
			j.broken("checkBootstrap", name, "called up twice in %s", a.BootID)
		}
		j.boots.calls[after.ID] = call{a.BootID, t.Entry.At}
		j.boots.coming[after.ID] = true
		j.checkOrder(after, t.Entry.At)
	}
	if a.Phase&(vm.Preparing|vm.Starting) == 0 && (a.Phase != vm.Adopting || !a.ReadyAt.IsZero()) {
		delete(j.boots.coming, after.ID)
	}
	if kind == vm.CalledUp.String() {
		j.checkPace(name)
	}
	if s := standing(before); s.met || !s.coming { // until this turn
		j.boots.needless[after.ID] = time.Now()
	}
	if s := standing(after); s.met || !s.coming {
		j.boots.needless[after.ID] = time.Now()
	}
}

// checkLeft: whoever waits for its turn leaves the queue by its turn, by its
// own deadline, by a boot that decides anew, or by a person's word.
func (j *judge) checkLeft(before vm.Record, t persistence.Turn) {
	var e vm.Event
	if err := e.UnmarshalText([]byte(t.Entry.Kind)); err != nil {
		j.broken("checkBootstrap", before.Spec.Name, "left the queue by %s", t.Entry.Kind)
		return
	}
	byTime := e == vm.DeadlinePassed && !t.Entry.At.Before(before.State.Deadline)
	if !e.Asked() && !byTime && !slices.Contains([]vm.Event{vm.CalledUp, vm.HeldBack, vm.Dismissed}, e) {
		j.broken("checkBootstrap", before.Spec.Name, "left the queue by %s, its own deadline is in %s", e, before.State.Deadline.Sub(t.Entry.At))
	}
}

// checkOrder: nobody is called up before a VM that it depends on, while that
// one is coming and the time to wait for it isn't over.
func (j *judge) checkOrder(rec vm.Record, at time.Time) {
	for _, d := range j.specs[rec.ID].Autostart.DependsOn {
		other, there := j.readable(d.VM)
		if !there || !at.Before(j.boots.began.Add(d.Timeout)) {
			continue
		}
		s := standing(other)
		met := s.met && (d.Is == vm.IsRunning || s.healthy)
		if met || !s.coming || d.Is == vm.IsHealthy && s.met {
			continue
		}
		if when, ok := j.boots.needless[other.ID]; ok && time.Since(when) < late {
			continue // it was met when this was decided
		}
		if !j.boots.parked()[d.VM] {
			j.broken("checkBootstrap", rec.Spec.Name, "called up before %s, which is %s wanted %s", d.VM, other.State.Phase, other.State.Intent)
		}
	}
}

// checkPace: never more on their way up by the bootstrap than it may have.
func (j *judge) checkPace(last vm.Name) {
	n := 0
	for id := range j.boots.coming {
		if !j.damaged[id] && time.Since(j.boots.calls[id].at) < j.boots.slow-late { // nobody can know what an unreadable record was on its way to
			n++
		}
	}
	if n > j.boots.most {
		j.broken("checkBootstrap", last, "%d are on their way up at once, at most %d may be", n, j.boots.most)
	}
}

// readable is the record of that name which the daemon can read.
func (j *judge) readable(name vm.Name) (vm.Record, bool) {
	for _, r := range j.durable {
		if r.Spec.Name == name && !j.damaged[r.ID] {
			return r, true
		}
	}
	return vm.Record{}, false
}

type stands struct{ met, healthy, coming bool }

func standing(r vm.Record) stands {
	s := r.State
	up := s.Phase == vm.Running
	return stands{
		met: up, healthy: up && (s.Health == vm.Healthy || len(r.Spec.Health) == 0),
		coming: s.Intent == vm.WantRunning && s.Phase != vm.Failed,
	}
}

// checkP5boot: a boot or an end of the node changes what is wanted only where a
// policy says so, and never what people said.
func (j *judge) checkP5boot(before, after vm.Record, kind string) {
	b, a, name := before.State, after.State, after.Spec.Name
	policy := after.Spec.Autostart.Policy
	asked := slices.Contains([]string{
		vm.StartAsked.String(), vm.RestartAsked.String(), vm.StopAsked.String(), vm.KillAsked.String(), vm.ResumeAsked.String(),
	}, kind)
	switch {
	case b.Phase == vm.Suspending: // who asked it away from the processors hears that its memory is lost, and it stays away
	case b.AskedDown != a.AskedDown && !asked:
		j.broken("checkP5", name, "%s changed what people said of it: asked down %v", kind, a.AskedDown)
	case kind == vm.NodeEnding.String() && b.Intent != a.Intent:
		j.broken("checkP5", name, "the node's end is taken for a person's stop")
	case kind == vm.Enlisted.String() && b.Intent != a.Intent && (b.AskedDown || policy != vm.AutostartAlways):
		j.broken("checkP5", name, "a boot brings it up, its autostart policy is %s, asked down %v", policy, b.AskedDown)
	case (kind == vm.StopAsked.String() || kind == vm.KillAsked.String()) && j.wish(name).falls == 0:
		j.broken("checkP5", name, "%s, and nobody asked for it", kind)
	}
	if kind == vm.StopAsked.String() || kind == vm.KillAsked.String() {
		j.wish(name).falls--
	}
}

// leftByBoot says whether a boot may leave a VM down that was wanted up.
func leftByBoot(kind string, p vm.AutostartPolicy, node policies.BootPolicy) bool {
	byPerson := p == vm.AutostartNever || p == vm.AutostartInherit && node == policies.BootManual
	return byPerson && (kind == vm.Rebooted.String() || kind == vm.Dismissed.String() || kind == vm.Shelved.String())
}

// checkShutdown: once a shutdown says that all are down, all are, and every one
// of them is still wanted as before.
func (s *stage) checkShutdown(err error) {
	if err != nil {
		return
	}
	parked := s.parkedNames()
	live := map[vm.ID]bool{}
	for _, ref := range s.world.Refs() {
		live[ref.VM] = true
	}
	for id, r := range s.judge.records() {
		if live[id] && !parked[r.Spec.Name] {
			s.judge.mu.Lock()
			s.judge.broken("checkShutdown", r.Spec.Name, "it lives after the shutdown, the disk says %s", r.State.Phase)
			s.judge.mu.Unlock()
		}
	}
}
