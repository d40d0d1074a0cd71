package chaos

import (
	"slices"
	"testing"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// When the node goes down in order, guests are asked to power off, whoever
// depends on others before those; when it boots, the other way round. That all
// were down meanwhile is nobody's wish (P5) and nobody's failure.
func TestOrderOfShutdownAndOfBoot(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	base := node.Builtin("base", "")
	base.Autostart = &v1.Autostart{Priority: 1}
	first := s.up(base)
	front := node.Builtin("front", "")
	front.Autostart = &v1.Autostart{Priority: 9, DependsOn: []*v1.Dependency{{Vm: "base", Is: "healthy", Timeout: seconds(60)}}}
	second := s.up(front)
	before := len(s.events())

	s.must(s.Reboot(s.ctx))
	for _, was := range []*v1.VM{first, second} {
		vm := s.next(was)
		if vm.GetIntent() != "running" || vm.GetIncarnation() != 2 || vm.GetRestarts().GetInWindow() != 0 {
			t.Errorf("want its second incarnation, wanted up and not charged: %v", vm)
		}
	}
	events := s.events()[before:]
	at := func(name, to string) int {
		i := slices.IndexFunc(events, func(e *v1.Event) bool { return e.GetVm() == name && e.GetTo() == to })
		if i < 0 {
			t.Errorf("%s was never %s", name, to)
		}
		return i
	}
	if at("front", "stopping") > at("base", "stopping") {
		t.Error("base was asked down before front, which depends on it")
	}
	if at("base", "running") > at("front", "starting") {
		t.Error("front was started before base, on which it depends, was up")
	}
	for _, e := range events {
		if e.GetTo() == "killing" {
			t.Errorf("a guest that answers was killed: %s", e.GetWhy())
		}
	}
}

// events is the journal so far.
func (s *site) events() []*v1.Event {
	s.t.Helper()
	var out []*v1.Event
	s.must(s.Watch(s.ctx, 0, false, func(e *v1.Event) bool {
		out = append(out, e)
		return true
	}))
	return out
}
