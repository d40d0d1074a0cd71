package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// member is a VM that meets the end of its node and the boot after it.
type member struct {
	name   string
	policy string             // of its autostart
	bring  func(*site) *v1.VM // to the state in which it meets the end; nil: up
	after  string             // the phase that is right after a boot
	last   *v1.VM             // as it was seen last
	torn   bool               // an incarnation more may have been begun since
}

// crowd is twenty VMs of every policy and state.
func (s *site) crowd() []*member {
	var out []*member
	add := func(count int, kind, policy, after string, bring func(*site, *v1.VMSpec) *v1.VM) {
		for i := range count {
			spec := s.PVH(fmt.Sprintf("%s-%d", kind, i))
			spec.Stop = &v1.Stop{Timeout: durationpb.New(300 * time.Millisecond)} // this guest hears nothing
			spec.Autostart = &v1.Autostart{Policy: policy, Priority: int32(i)}
			m := &member{name: spec.GetName(), policy: policy, after: after}
			m.bring = func(s *site) *v1.VM { return bring(s, spec) }
			out = append(out, m)
		}
	}
	up := func(s *site, spec *v1.VMSpec) *v1.VM { return s.up(spec) }
	add(6, "plain", "inherit", "running", up)
	add(3, "last", "last-state", "running", up)
	add(2, "well", "healthy", "running", up)
	add(2, "always", "always", "running", up)
	add(2, "never", "never", "stopped", up)
	add(1, "fresh", "always", "running", (*site).made)
	add(1, "unused", "last-state", "stopped", (*site).made)
	add(1, "down", "always", "stopped", (*site).stopped)
	add(1, "down-too", "last-state", "stopped", (*site).stopped)
	add(1, "hopeless", "always", "failed", (*site).hopeless)
	return out
}

func (s *site) made(spec *v1.VMSpec) *v1.VM {
	s.t.Helper()
	_, err := s.Create(s.ctx, spec, false)
	s.must(err)
	return s.reaches(spec.GetName(), "stopped", soon)
}

func (s *site) stopped(spec *v1.VMSpec) *v1.VM {
	s.t.Helper()
	s.up(spec)
	_, err := s.StopOf(s.ctx, spec.GetName(), true)
	s.must(err)
	return s.reaches(spec.GetName(), "stopped", soon)
}

// hopeless is a VM that was given up.
func (s *site) hopeless(spec *v1.VMSpec) *v1.VM {
	s.t.Helper()
	spec.Restart = node.Impatient(1)
	s.up(spec)
	s.heals(spec.GetName())
	vm, err := s.Get(s.ctx, spec.GetName())
	s.must(err)
	s.strike(vm)
	return s.reaches(spec.GetName(), "failed", soon)
}

// A node that went down, however it did, is again what people asked for: P4, P5, P10.
func TestNodeComesBackAsItWas(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	crowd := s.crowd()
	for _, m := range crowd {
		m.last = m.bring(s)
	}
	s.step("power cut", func(s *site) {
		s.must(s.PowerCut())
		s.must(s.Boot(s.ctx))
		s.cameBack(crowd, "host-reboot")
	})
	s.step("graceful reboot", func(s *site) {
		s.must(s.Reboot(s.ctx))
		s.cameBack(crowd, "killed-by-us") // this guest doesn't hear that it is asked
	})
	s.step("power cut in the midst of the boot", func(s *site) {
		s.must(s.PowerCut())
		s.must(s.Boot(s.ctx)) // the daemon answers, and has begun to start VMs
		s.must(s.PowerCut())
		for _, m := range crowd {
			m.torn = true
		}
		s.must(s.Boot(s.ctx))
		s.cameBack(crowd, "host-reboot")
	})
}

// cameBack waits until everybody is as is right after a boot, with that cause of the end before it.
func (s *site) cameBack(crowd []*member, cause string) {
	s.t.Helper()
	began := time.Now()
	var alive []int32
	for _, m := range crowd {
		is := s.settled(m)
		alive = append(alive, is.GetPid())
		if s.RunFolder(m.name) != (is.GetPhase() == "running") {
			s.t.Errorf("%s is %s; has a run folder: %v (P7)", m.name, is.GetPhase(), s.RunFolder(m.name))
		}
		m.checkHistory(s, is, cause)
		m.last, m.torn = is, false
	}
	alive = slices.DeleteFunc(alive, func(pid int32) bool { return pid == 0 })
	s.only(alive...)
	s.t.Logf("%d of %d were up %v after the daemon answered", len(alive), len(crowd), time.Since(began).Round(time.Millisecond))
}

func (s *site) settled(m *member) *v1.VM {
	s.t.Helper()
	if m.after == "running" {
		return s.next(m.last)
	}
	return s.reaches(m.name, m.after, soon)
}

// checkHistory fails unless exactly one incarnation came, where one should, and
// nobody's intent, budget or next try was changed by the end of the node.
func (m *member) checkHistory(s *site, is *v1.VM, cause string) {
	s.t.Helper()
	was := m.last
	want := was.GetIncarnation()
	if m.after == "running" {
		want++
	}
	if got := is.GetIncarnation(); got != want && (!m.torn || got != want+1) {
		s.t.Errorf("%s: want incarnation %d, got %d", m.name, want, got)
	}
	if is.GetIntent() != was.GetIntent() && want > 1 { // what was never started is by now
		s.t.Errorf("%s: its intent was %s and is %s (P5)", m.name, was.GetIntent(), is.GetIntent())
	}
	if before, after := was.GetRestarts(), is.GetRestarts(); before.GetInWindow() != after.GetInWindow() {
		s.t.Errorf("%s: %d failures in the window became %d: the node's end is nobody's failure (P10)", m.name, before.GetInWindow(), after.GetInWindow())
	}
	if exit := is.GetLastExit(); m.after == "running" && was.GetPhase() == "running" && (exit.GetCause() != cause || exit.GetCharged()) {
		s.t.Errorf("%s: want its last end told as %s, and not charged, got %v", m.name, cause, exit)
	}
}
