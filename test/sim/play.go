package sim

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// step is one thing that people or fate do.
type step struct {
	weight int
	take   func(*stage)
}

var steps = []step{
	{40, (*stage).people},
	{12, (*stage).smite},
	{8, (*stage).killDaemon},
	{8, (*stage).killAfterWrite},
	{4, (*stage).stopDaemon},
	{3, (*stage).powerCut},
	{3, (*stage).cutInBootstrap},
	{4, (*stage).endNode},
	{3, (*stage).strain},
	{4, (*stage).unplug},
	{3, (*stage).dieUnseen},
	{8, (*stage).breakWorld},
	{8, (*stage).breakDisk},
	{6, (*stage).mend},
	{3, (*stage).resize},
	{3, (*stage).rush},
	{4, (*stage).fill},
	{2, (*stage).damage},
	{2, (*stage).spoil},
	{6, (*stage).look},
	{4, (*stage).lookWhileBlocked},
}

// play creates the VMs and takes the script's steps.
func (s *stage) play() {
	s.create(canary, true)
	synctest.Wait()
	for _, n := range s.plan.names {
		s.create(n, s.script.IntN(4) > 0)
	}
	total := 0
	for _, one := range steps {
		total += one.weight
	}
	for range 30 + s.script.IntN(51) {
		at := s.script.IntN(total)
		for _, one := range steps {
			if at -= one.weight; at < 0 {
				one.take(s)
				break
			}
		}
		s.idle()
		s.stall()
		s.deafen()
		s.pass()
		if s.dead() {
			s.reboot(s.span())
		}
	}
}

// span is from no time at all to half an hour.
func (s *stage) span() time.Duration {
	return time.Duration(s.script.IntN(1000)) * pick(s.script, 0, 0, time.Microsecond, time.Millisecond, time.Millisecond, 10*time.Millisecond,
		30*time.Millisecond, time.Second)
}

func (s *stage) pass() {
	time.Sleep(s.span())
	if s.script.IntN(3) > 0 {
		synctest.Wait()
	}
}

func (s *stage) anyone() vm.Name { return pick(s.script, s.plan.names...) }

// people ask one to four things at once.
func (s *stage) people() {
	if s.dead() {
		return
	}
	for range 1 + s.script.IntN(4) {
		s.askAnything(s.anyone())
	}
	if s.script.IntN(2) == 0 {
		synctest.Wait()
	}
}

func (s *stage) askAnything(name vm.Name) {
	e := pick(s.script, vm.StartAsked, vm.StartAsked, vm.StartAsked, vm.StopAsked, vm.StopAsked, vm.KillAsked, vm.RestartAsked,
		vm.PauseAsked, vm.ResumeAsked, vm.SuspendAsked, vm.SuspendAsked, vm.ResumeAsked, vm.ResumeAsked, vm.ResetAsked, vm.ResetAsked, vm.SpecAsked, vm.DeleteAsked, vm.ForceDeleteAsked)
	if s.script.IntN(12) == 0 {
		s.create(name, s.script.IntN(2) == 0)
		return
	}
	ask := messages.Ask{Event: e}
	if e == vm.SpecAsked {
		spec := s.plan.casts[name].spec
		spec.Restart.Budget.Attempts = 1 + s.script.IntN(10)
		spec.Autostart.Policy = drawPolicy(s.script)
		if s.lull.IntN(3) == 0 {
			spec.Reclaim = drawReclaim(s.seed, s.lull)
		}
		if s.script.IntN(8) == 0 {
			spec.CPUs++ // another machine: what was saved doesn't load into it
		}
		if s.script.IntN(4) == 0 {
			spec.Autostart.DependsOn = drawDependencies(s.script, s.plan.names) // a cycle may come by this
		}
		spec = s.sized(spec)
		ask.Spec = &spec
	}
	s.ask(name, ask)
}

// patience is how long an asker waits.
const patience = time.Minute

func (s *stage) ask(name vm.Name, a messages.Ask) {
	node, disk := s.node, s.disk
	n := s.judge.ask(name, a.Event, "somebody")
	s.askers.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		rec, err := node.Ask(ctx, name, a)
		s.judge.answered(n, name, a.Event, rec, err, disk.gone.Load() || ctx.Err() != nil)
	})
}

func (s *stage) create(name vm.Name, start bool) {
	if s.dead() {
		return
	}
	node, disk, spec := s.node, s.disk, s.sized(s.plan.casts[name].spec)
	event := vm.SpecAsked // created and left down: nobody asked it up or down
	if start {
		event = vm.StartAsked
	}
	n := s.judge.ask(name, event, "its creator")
	s.askers.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		rec, err := node.Create(ctx, messages.Create{Spec: spec, Start: start})
		s.judge.answered(n, name, event, rec, err, disk.gone.Load() || ctx.Err() != nil)
	})
}

// smite is SIGKILL for a VMM from outside.
func (s *stage) smite() {
	name := s.anyone()
	if s.script.IntN(6) == 0 {
		name = canary
	}
	for id, r := range s.judge.records() {
		if r.Spec.Name == name {
			s.story.tell("SIGKILL for the VMM of %s", name)
			s.world.Smite(id)
		}
	}
}

func (s *stage) killDaemon() {
	s.story.tell("NODE SIGKILL for the daemon")
	s.crash()
}

// killAfterWrite kills the daemon exactly after one of its next writes: none
// of that turn's effects happens.
func (s *stage) killAfterWrite() {
	n := 1 + s.script.IntN(6)
	s.story.tell("NODE the daemon will die after %d writes", n)
	s.disk.toGo.Store(int64(n))
	if s.dead() {
		return
	}
	for range s.script.IntN(4) {
		s.askAnything(s.anyone())
	}
}

func (s *stage) stopDaemon() {
	s.story.tell("NODE SIGTERM for the daemon")
	s.reboot(s.span())
}

func (s *stage) powerCut() {
	s.story.tell("NODE power cut")
	s.crash()
	s.world.PowerCut()
	m := s.memory
	s.memory = m.Crash()
	if s.plant.Cut != nil {
		s.memory = s.plant.Cut(s, s.memory)
	}
	s.reboot(s.span())
}

func (s *stage) breakWorld() {
	p := func() float64 { return pick(s.script, 0, 0, 0.1, 0.3, 1) }
	f := fake.Faults{
		Save: p(), Keep: p(), LateKeep: p(), Drop: p(),
		Ensure: p(), LateEnsure: p(), Unlink: p(),
		Prepare: p(), Launch: p(), LateLaunch: p(), Attach: p(), Find: p(), Kill: p(), Release: p(), Discard: p(),
		Bug: pick(s.script, 0, 0, 0.05, 0.3), Slow: p(), Twice: p(), MaxSlow: pick(s.script, time.Millisecond, time.Second, time.Minute),
	}
	f.Bundle = f.Keep // the same disk
	s.story.tell("NODE breaks: %+v", f)
	s.world.Break(f)
}

func (s *stage) breakDisk() {
	f := diskFaults{refuse: pick(s.script, 0, 0, 0.02, 0.2), stall: pick(s.script, 0, 0.1), bug: pick(s.script, 0, 0, 0.05)}
	s.story.tell("NODE the disk breaks: %+v", f)
	s.disk.breaks(f)
}

func (s *stage) mend() {
	s.story.tell("NODE all is mended")
	s.world.Break(fake.Faults{})
	s.disk.breaks(diskFaults{})
	s.world.Fill(false)
}

// fill takes the room from under the guests' disks, or gives it back. The
// store's own disk is another one.
func (s *stage) fill() { s.world.Fill(s.script.IntN(2) == 0) }

// spoil damages the saved guests of a VM, or removes them.
func (s *stage) spoil() {
	name, how := s.anyone(), s.script.IntN(2)
	for id, r := range s.judge.records() {
		if r.Spec.Name == name {
			s.world.Spoil(id, how == 0)
		}
	}
}

// damage makes a record unreadable while no daemon runs, in some seeds.
func (s *stage) damage() {
	name := s.anyone()
	if len(s.plan.names) < 3 || s.judge.hasDamage() {
		return
	}
	s.crash()
	for id, r := range s.judge.records() {
		if r.Spec.Name == name {
			s.memory.Damage(id)
			s.judge.damage(id)
		}
	}
	s.reboot(0)
}

// look reads status, which may take no time, whatever the actors, the store
// and the host are doing.
func (s *stage) look() {
	if s.dead() {
		return
	}
	s.checkP11()
}

// lookWhileBlocked reads status while the store keeps whoever writes waiting.
func (s *stage) lookWhileBlocked() {
	if s.dead() {
		return
	}
	before := s.disk.fault()
	s.disk.breaks(diskFaults{stall: 1})
	s.people()
	synctest.Wait()
	s.checkP11()
	s.disk.breaks(before)
}
