package host_test

import (
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func TestTheNameOfASavedGuestIsReadAsItIsWritten(t *testing.T) {
	for _, n := range []host.StateName{{Of: 7}, {Of: 7, Whole: true}, {Of: 1, Good: true}, {Of: 1 << 40, Good: true, Whole: true}} {
		if got, ok := host.StateOf(n.String()); !ok || got != n {
			t.Errorf("%s is read as %+v, %t", n, got, ok)
		}
	}
	for _, name := range []string{
		"", "good-", "saved-.state", "good-7", "good-07.state", "saved-7.state.tmp.tmp", "good-saved-7.state", "saved-good-7.state",
		"good--7.state", "good-7.state ", " good-7.state", "good-99999999999999999999.state", "console-7.log",
	} {
		if got, ok := host.StateOf(name); ok {
			t.Errorf("%q is read as %+v", name, got)
		}
	}
}

func TestAFileIsNamedByItsOwnKindAlone(t *testing.T) {
	s := vm.State{Saved: &vm.SavedState{Incarnation: 2}, Good: &vm.SavedState{Incarnation: 3, Good: true}}
	for n, want := range map[host.StateName]bool{
		{Of: 2, Whole: true}: true, {Of: 2}: false, {Of: 2, Good: true, Whole: true}: false,
		{Of: 3, Good: true, Whole: true}: true, {Of: 3, Good: true}: false, {Of: 3, Whole: true}: false,
	} {
		if got := n.NamedBy(s); got != want {
			t.Errorf("%s is named: %t", n, got)
		}
	}
}
