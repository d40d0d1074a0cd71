package vm_test

import (
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func TestWaitOfOneThreadIsNotHiddenByAnother(t *testing.T) {
	type waits = map[int]time.Duration
	for _, c := range []struct {
		story          string
		earlier, later vm.Glance
		want           time.Duration
	}{
		{"another thread waited long ago", vm.Glance{Waited: 10, Waits: waits{1: 10, 2: 5}}, vm.Glance{Waited: 10, Waits: waits{1: 10, 2: 8}}, 3},
		{"the longest of several", vm.Glance{Waits: waits{1: 10, 2: 5}}, vm.Glance{Waits: waits{1: 11, 2: 9}}, 4},
		{"a new thread", vm.Glance{Waits: waits{1: 10}}, vm.Glance{Waits: waits{1: 10, 3: 7}}, 7},
		{"a thread that ended", vm.Glance{Waited: 90, Waits: waits{1: 10, 2: 90}}, vm.Glance{Waited: 10, Waits: waits{1: 10}}, 0},
		{"a number that was used again", vm.Glance{Waits: waits{1: 10, 2: 90}}, vm.Glance{Waits: waits{1: 10, 2: 1}}, 0},
		{"no threads are told of", vm.Glance{Waited: 3}, vm.Glance{Waited: 8}, 5},
		{"nor then, and less", vm.Glance{Waited: 8}, vm.Glance{Waited: 3}, 0},
		{"no earlier look", vm.Glance{}, vm.Glance{Waited: 8, Waits: waits{1: 8}}, 8},
	} {
		if got := c.later.WaitedSince(c.earlier); got != c.want {
			t.Errorf("%s: waited %d, not %d", c.story, got, c.want)
		}
	}
}
