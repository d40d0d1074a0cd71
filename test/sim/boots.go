package sim

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
)

// The steps of this file are boots and ends of the node, and what the machine
// does to a bootstrap.

// cutInBootstrap cuts the power again, or kills the daemon, while VMs come up.
func (s *stage) cutInBootstrap() {
	s.powerCut()
	for range 1 + s.script.IntN(3) {
		time.Sleep(time.Duration(s.script.IntN(20_000)) * time.Millisecond)
		synctest.Wait()
		switch {
		case s.dead():
			s.reboot(s.span())
		case s.script.IntN(3) == 0:
			s.powerCut()
		case s.script.IntN(2) == 0:
			s.killDaemon()
			s.reboot(s.span())
		default:
			s.look()
			s.people()
		}
	}
}

// endNode stops every VM in reverse order and switches the machine off; in
// some stories it stays on, or the power goes in the midst of it.
func (s *stage) endNode() {
	if s.dead() {
		return
	}
	s.askers.Wait()
	within := pick(s.script, time.Second, 30*time.Second, 5*time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), within+time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	node := s.node
	s.story.tell("NODE shutdown within %s", within)
	if s.plant.End != nil {
		s.plant.End(s)
	} else {
		s.askers.Go(func() { ended <- node.Shutdown(ctx, within, messages.Caller{}) })
	}
	if s.script.IntN(3) == 0 {
		s.pass() // … and it is cut short
	} else {
		select {
		case err := <-ended:
			s.story.tell("NODE shutdown ended: %v", err)
			s.checkShutdown(err)
		case <-ctx.Done():
		}
	}
	switch s.script.IntN(4) {
	case 0:
		s.story.tell("NODE the machine stays on")
	case 1:
		s.killDaemon()
	default:
		s.powerCut()
	}
}

// strain changes the pressure that the machine tells of.
func (s *stage) strain() {
	p := host.Pressure{
		CPU: pick(s.script, 0, 0, 50, 100.), Memory: pick(s.script, 0, 0, 0, 90.), IO: pick(s.script, 0, 0, 99.),
	}
	s.story.tell("NODE pressure: %+v", p)
	s.world.Strain(p)
}

// unplug deletes a tap under a running guest.
func (s *stage) unplug() {
	name := s.anyone()
	for id, r := range s.judge.records() {
		if r.Spec.Name == name {
			s.world.Unplug(id)
		}
	}
}

// dieUnseen kills VMMs while no daemon looks; somebody remembers how they
// ended, or nobody does.
func (s *stage) dieUnseen() {
	s.world.Remember(pick(s.script, 0, 0.5, 1))
	s.killDaemon()
	for range 1 + s.script.IntN(3) {
		s.smite()
	}
	s.reboot(s.span())
}
