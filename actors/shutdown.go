package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// shutdownAsked: gateway, daemon → root.
type shutdownAsked struct {
	within time.Duration
	by     messages.Caller
	reply  chan<- error // has room for the one answer
}

// shutdown stops every VM before the node goes down: gracefully, whoever is
// depended on after those that do. Their intent stays, so they come back at the
// next boot; should the node not go down, they come back by their deadline (P4).
type shutdown struct {
	env     *env
	asked   shutdownAsked
	self    *actor.PID
	told    map[vm.Name]bool
	rushed  bool
	disarms []func()
}

type (
	// hurry: clock → shutdown: two thirds of the time are over, order matters no more.
	hurry struct{}
	// tooLate: clock → shutdown.
	tooLate struct{}
)

// Receive is the shutdown's mailbox.
func (s *shutdown) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		s.begin(c)
	case stood:
		if quiet(m.rec) || m.rec.State.Phase == vm.Running {
			delete(s.told, m.rec.Spec.Name) // whoever came up meanwhile is told again
		}
		s.step(c)
	case hurry:
		s.rushed = true
		clear(s.told) // who did not hear, for a bug of ours, hears it now; twice does no harm
		s.step(c)
	case tooLate:
		s.end(c, &vm.Refusal{
			Code: vm.TimedOut, Why: fmt.Sprintf("%d VMs are not down after %s", len(s.up()), s.asked.within),
			Try: "blixard vm list; what is still up when the machine goes down comes back at its next boot all the same",
		})
	case *actor.Stopping:
		s.env.turned.leave(s.self)
		for _, disarm := range s.disarms {
			disarm()
		}
		if s.asked.reply != nil { // the daemon ends, or a bug of ours ended this
			s.asked.reply <- &vm.Refusal{
				Code: vm.Unavailable, Why: fmt.Sprintf("the shutdown broke off with %d VMs up", len(s.up())), Try: "blixard node shutdown",
			}
		}
	}
}

func (s *shutdown) begin(c actor.Context) {
	s.self, s.told = c.Self(), map[vm.Name]bool{}
	s.env.turned.join(s.self)
	s.env.note("NodeEnding", vm.Record{}, fmt.Sprintf("%d VMs are stopped within %s, asked by %s", len(s.up()), s.asked.within, s.asked.by))
	for after, m := range map[time.Duration]any{s.asked.within * 2 / 3: hurry{}, s.asked.within: tooLate{}} {
		self, env := s.self, s.env
		s.disarms = append(s.disarms, env.ports.Clock.After(after, func() { env.tell(self, m) }))
	}
	for _, v := range s.env.views.list() {
		if v.rec.State.Phase == vm.Backoff { // else its delay would end in the midst of this
			s.tell(v)
		}
	}
	s.step(c)
}

// quiet says that a VM holds nothing and starts nothing.
func quiet(r vm.Record) bool {
	s := r.State
	return s.Phase&(vm.Stopped|vm.Failed|vm.Suspended|vm.Removing) != 0 || s.Phase == vm.Backoff && s.Queued
}

func (s *shutdown) up() []policies.Candidate {
	var out []policies.Candidate
	for _, v := range s.env.views.list() {
		if !quiet(v.rec) && v.parked == "" {
			out = append(out, policies.CandidateOf(s.env.ports.Clock.Now(), v.rec))
		}
	}
	return out
}

func (s *shutdown) step(c actor.Context) {
	up := s.up()
	if len(up) == 0 {
		s.end(c, nil)
		return
	}
	now := policies.MayEnd(up)
	if s.rushed {
		now = now[:0]
		for _, one := range up {
			now = append(now, one.Name)
		}
	}
	for _, name := range now {
		if v, ok := s.env.views.get(name); ok && !s.told[name] {
			s.tell(&v)
		}
	}
}

func (s *shutdown) tell(v *view) {
	s.told[v.rec.Spec.Name] = true
	s.env.tell(v.pid, messages.NodeEnding{})
}

func (s *shutdown) end(c actor.Context, err *vm.Refusal) {
	if s.asked.reply == nil {
		return
	}
	if err != nil {
		s.asked.reply <- err
	} else {
		s.asked.reply <- nil
	}
	s.asked.reply = nil
	c.Stop(c.Self())
}
